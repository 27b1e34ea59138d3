"""Lists: a part of a name, the order, the total, and their pages; jobs also by id, day and person."""

import re
from typing import Any

import pytest

from orchestration.catalog.auditing import record
from orchestration.console.pages import jobs, segments
from orchestration.console.paths import in_tenant
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, EXPORT, JOB, World, id_of
from tests.unit.orchestration.console.test_segments import make

JOBS = in_tenant(ACME, "jobs")


def links(client: AsgiClient, world: World, path: str, caller: str = "acme-admin", **query: Any) -> list[str]:
    """Where the rows of a list lead to."""
    body = client.get(path, token=world.tokens[caller].text.reveal(), query=query).body.decode()
    return re.findall(r'href="[^"]*/([^"/]+)" class="title"|class="title" href="[^"]*/([^"/]+)"', body)


def rows(client: AsgiClient, world: World, path: str, caller: str = "acme-admin", **query: Any) -> list[str]:
    return ["".join(one) for one in links(client, world, path, caller, **query)]


def test_list_has_names_with_a_part_in_an_order_and_says_how_many(
    client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, token = in_tenant(ACME, "segments"), world.tokens["acme-viewer"].text.reveal()
    for name in ("one_c", "onexc", "one_a", "one_b"):
        make(world, name, "age >= 25")
    assert rows(client, world, path, q="NE_") == ["one_a", "one_b", "one_c"]
    assert rows(client, world, path, q="ne_", order="-name") == ["one_c", "one_b", "one_a"]
    assert rows(client, world, path, q="ne_", order="-created") == ["one_b", "one_a", "one_c"]
    assert rows(client, world, path, q="%") == []
    for query, said in (({"q": "ne_"}, "3 of 5"), ({}, "5 in all"), ({"q": "%"}, "No name has this part")):
        assert said in client.get(path, token=token, query=query).body.decode()
    monkeypatch.setattr(segments, "ROWS", 2)
    for order, expected in (("", "ab,c"), ("-name", "cb,a"), ("-created", "ba,c")):
        first = client.get(path, token=token, query={"q": "one_", "order": order}).body.decode()
        (rest,) = re.findall(rf'href="({path}\?[^"]*cursor=[^"]*)"', first)
        further = client.get(path, token=token, query=dict(re.findall(r"[?;](\w+)=([^&]*)", rest)))
        found = [re.findall(r'class="title" href="[^"]*one_(.)"', text) for text in (first, further.body.decode())]
        assert ",".join("".join(one) for one in found) == expected, order


@pytest.mark.parametrize(
    ("path", "caller", "part", "found"),
    [
        (in_tenant(ACME, "audiences"), "acme-viewer", "vi", 1),
        (in_tenant(ACME, "schedules"), "acme-viewer", "ight", 1),
        ("/console/people", "deployment-admin", "cme-an", 1),
        ("/console/people", "deployment-admin", "acme-", 5),
    ],
)
def test_every_list_of_names_is_filtered(
    client: AsgiClient, world: World, path: str, caller: str, part: str, found: int
) -> None:
    def body(part: str) -> str:
        token = world.tokens[caller].text.reveal()
        return client.get(path, token=token, query={"q": part}).body.decode()

    assert body(part).count('<li class="row">') == found
    assert f"{found} of " in body(part)
    assert "No name has this part" in body("no_such")


def test_jobs_are_found_by_id_day_and_person(client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job, export = id_of(ACME, JOB), id_of(ACME, EXPORT)
    every = rows(client, world, JOBS)
    assert {job, export} <= set(every)
    assert rows(client, world, JOBS, q=job[9:].upper()) == [job]
    assert set(rows(client, world, JOBS, q="vi")) <= set(every) != set()
    assert rows(client, world, JOBS, audience="vi") == [], "links name an audience as a whole"
    # All jobs of this world begin on one day.
    (day,) = {one[:10] for one in re.findall(r'datetime="([^"]+)"', _body(client, world))}
    assert rows(client, world, JOBS, **{"from": day, "to": day}) == every
    assert rows(client, world, JOBS, **{"from": "2100-01-01"}) == rows(client, world, JOBS, to="1999-12-31") == []
    assert rows(client, world, JOBS, **{"from": "soon", "zone": "../etc"}) == every
    for person, action, of in (("acme-operator", "import", job), ("acme-admin", "rejects", export)):
        record(world.services.audit, person, action, "acme/vip", job_id=of, principal=world.principals[person])
    assert rows(client, world, JOBS, by="OPERA") == [job]
    assert rows(client, world, JOBS, by="admin") == [], "who has looked at a job has not started it"
    assert rows(client, world, JOBS, caller="acme-operator", by="acme-operator") == [job]
    assert rows(client, world, JOBS, caller="acme-viewer", by="opera") == [], "only those who read the trail see others"
    assert f"{len(every)} jobs" in _body(client, world)
    monkeypatch.setattr(jobs, "COUNTED", 1)
    assert "More than 1 jobs" in _body(client, world)


def _body(client: AsgiClient, world: World) -> str:
    return client.get(JOBS, token=world.tokens["acme-admin"].text.reveal()).body.decode()
