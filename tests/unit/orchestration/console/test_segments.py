"""The pages of segments: who may change one, what hangs on it, and that it is not deleted by mistake."""

import html
import re
from dataclasses import replace

from orchestration.access.bodies.segments import NewSegment
from orchestration.access.views.jobs import Jobs
from orchestration.access.views.segments import Segments
from orchestration.catalog.segment_sizes import HOUR_MS
from orchestration.console.job_texts import words_of
from orchestration.console.language import Texts
from orchestration.platform.clock import now_ms
from orchestration.records.jobs import ExportJobDetail
from tests.contract.test_segments import status
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import ACME, EXPORT, World, id_of
from tests.unit.orchestration.console.pages import OWN, seen_segment

SEGMENTS = "/console/tenants/acme/segments"


def send(client: AsgiClient, world: World, path: str, form: str | None = None, caller: str = "acme-analyst") -> Answer:
    token = world.tokens[caller].text.reveal()
    headers = {**OWN, "Content-Type": "application/x-www-form-urlencoded"} if form is not None else OWN
    raw = None if form is None else [form.encode()]
    return client.send("GET" if form is None else "POST", path, token=token, headers=headers, raw=raw)


def text_of(answer: Answer) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.body.decode())))


def make(world: World, name: str, rule: str) -> None:
    view = Segments(world.services, world.caller("acme-analyst"), ACME)
    view.create_segment(NewSegment(segment=name, rule=rule))


def test_page_shows_references_of_a_rule_in_both_directions(client: AsgiClient, world: World) -> None:
    make(world, "loyal", "in segment buyers and not in audience vip and age >= 25")
    make(world, "near", 'ever("in segment buyers")')
    assert re.search("Used by loyal *, feed members (?!, )", text_of(send(client, world, f"{SEGMENTS}/buyers")))
    shown = text_of(send(client, world, f"{SEGMENTS}/loyal"))
    assert "Uses attributes age Uses audiences vip Uses segments buyers Used by No segment" in shown


def test_page_draws_the_size_once_two_hours_are_known(client: AsgiClient, world: World) -> None:
    for hours_ago, members in ((3, 700), (1, 900)):
        at_us = (now_ms() - hours_ago * HOUR_MS) * 1000
        world.services.segments.put_statuses(
            status(partition=number, members=members, at_us=at_us) for number in range(2)
        )
        shown = text_of(send(client, world, f"{SEGMENTS}/buyers"))
        assert ("1,800 Members, hour by hour · at most 1,800" in shown) == (hours_ago == 1)


def test_a_segment_is_exported_by_form(client: AsgiClient, world: World) -> None:
    form = f"{SEGMENTS}/buyers/export"
    assert f'href="{form}"' in send(client, world, f"{SEGMENTS}/buyers", caller="acme-operator").body.decode()
    assert f'href="{form}"' not in send(client, world, f"{SEGMENTS}/buyers", caller="acme-viewer").body.decode()
    shown = send(client, world, form, caller="acme-operator").body.decode()
    for name in ("rows", "delta_from", "allow_shrink", "place", "format"):
        assert f'name="{name}"' in shown
    asked = "key=k&place=download&format=csv&rows=changes&delta_from=last&allow_shrink=yes"
    assert send(client, world, f"{SEGMENTS}/buyers/exports", asked, "acme-operator").status == 303
    [entry] = [one for one in world.services.audit.search() if one.action == "export"]
    assert (entry.arguments["audience"], entry.arguments["delta_from"]) == ("buyers", "last")
    assert entry.arguments["allow_shrink"] is True
    job = Jobs(world.services, world.caller("acme-operator"), ACME).get_job(id_of("acme", EXPORT))
    assert isinstance(job, ExportJobDetail)
    waiting = words_of(replace(job, state="AWAITING", groups=[], outcome=None), Texts("en"))
    assert (waiting.badge.text, waiting.text) == ("Taking a snapshot", "Taking a snapshot")
    send(client, world, f"{SEGMENTS}/buyers/state", "state=paused")
    assert f'href="{form}"' not in send(client, world, f"{SEGMENTS}/buyers", caller="acme-operator").body.decode()


def test_a_segment_is_paused_and_resumed(client: AsgiClient, world: World) -> None:
    answer = send(client, world, f"{SEGMENTS}/buyers/state", "state=paused")
    assert (answer.status, answer.headers["location"]) == (303, f"{SEGMENTS}/buyers")
    assert "‖ Paused" in text_of(send(client, world, SEGMENTS))
    page = send(client, world, f"{SEGMENTS}/buyers").body.decode()
    assert 'value="active"' in page
    assert 'value="paused"' not in page
    send(client, world, f"{SEGMENTS}/buyers/state", "state=active")
    assert "Paused" not in text_of(send(client, world, SEGMENTS))
    assert send(client, world, f"{SEGMENTS}/buyers/state", "state=gone").status == 400


def test_deletion_requires_the_name_and_the_seen_revision(client: AsgiClient, world: World) -> None:
    confirmed = f"confirm=buyers&{seen_segment(world)}"
    for form, code in (
        (confirmed.replace("buyers", "buyer"), "NOT_CONFIRMED"),
        ("confirm=buyers&seen=old", "STALE_ETAG"),
    ):
        assert code in send(client, world, f"{SEGMENTS}/buyers/deletion", form).body.decode()
    make(world, "loyal", "in segment buyers")
    used = send(client, world, f"{SEGMENTS}/buyers/deletion", confirmed).body.decode()
    assert "SEGMENT_IN_USE" in used
    assert "loyal" in used
    world.reset()
    assert send(client, world, f"{SEGMENTS}/buyers/deletion", confirmed).status == 303
    empty = text_of(send(client, world, SEGMENTS))
    assert "No segments yet" in empty


def test_changes_are_offered_only_with_the_right_to_change_a_segment(client: AsgiClient, world: World) -> None:
    for path in (SEGMENTS, f"{SEGMENTS}/buyers"):
        page = send(client, world, path, caller="acme-viewer").body.decode()
        assert '<form method="post" action="/console/tenants/' not in page
        assert "/builder" not in page


def test_snapshot_is_offered_only_with_the_right_to_run_jobs(client: AsgiClient, world: World) -> None:
    """It publishes a version of any audience, which editing segments does not include."""
    shown = {
        caller: {part for part in ("snapshots", "deletion") if f"{SEGMENTS}/buyers/{part}" in page}
        for caller in ("acme-analyst", "acme-operator", "acme-engineer")
        for page in [send(client, world, f"{SEGMENTS}/buyers", caller=caller).body.decode()]
    }
    assert shown == {
        "acme-analyst": {"deletion"},
        "acme-operator": {"snapshots"},
        "acme-engineer": {"snapshots", "deletion"},
    }
