"""The event stream that all pages of a browser share."""

from collections import Counter

from orchestration.console.paths import in_tenant
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, BETA, JOB, World, id_of
from tests.unit.orchestration.api.streamed import received


def test_one_stream_has_the_sources_of_all_pages_and_leaves_out_those_of_others(
    client: AsgiClient, world: World
) -> None:
    job, foreign = id_of(ACME, JOB), id_of(BETA, JOB)
    granted = [f"{ACME}/job", f"{ACME}/job/{job}", f"{ACME}/segment"]
    refused = [f"{BETA}/job", f"{ACME}/job/{foreign}", "/lag", f"{ACME}/worker", "nonsense", ""]
    answer = client.get(
        "/console/events",
        token=world.tokens["acme-viewer"].text.reveal(),
        query={"of": [*granted, *refused]},
        until=lambda body: "ready" in [name for name, _ in received(body)],
    )
    (name, sources), *events = received(answer.body)
    assert (name, sources) == ("sources", {"of": sorted(granted)})
    kinds = Counter(name for name, _ in events)
    assert kinds["segment"] > 0
    assert kinds["lag"] == 0
    jobs = [data for name, data in events if name == "job" and data["id"] == job]
    assert sorted("history" in data["value"] for data in jobs) == [False, True]
    assert {data["value"]["tenant"] for name, data in events if name == "job"} == {ACME}


def test_pages_name_their_source(client: AsgiClient, world: World) -> None:
    token = world.tokens["acme-admin"].text.reveal()
    for path, source in (("jobs", "acme/job"), ("segments", "acme/segment"), ("builder", "acme/segment")):
        body = client.get(in_tenant(ACME, path), token=token).body.decode()
        assert f'data-stream="{source}"' in body
