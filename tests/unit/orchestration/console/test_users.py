"""The page of a user: what is counted stands on a timeline, and ids stand nowhere else."""

import json
import re

import pytest

from orchestration.console.pages.users import why_of
from orchestration.readers.questions import ExplainUser
from orchestration.records.questions import Explanation
from tests.fakes.asgi import AsgiClient
from tests.fakes.readers import ANSWERS
from tests.fakes.tenants import World
from tests.unit.orchestration.console.test_segments import send, text_of

USERS = "/console/tenants/acme/users"
ANN = "ann@example.com"


def condition(text: str, *, days: tuple[int, ...] = ()) -> dict[str, object]:
    events = [{"occurred_at": f"2026-11-{day:02}T00:00:00+00:00", "event_id": f"e{day}"} for day in days]
    return {"condition": text, "true": bool(days), "counted": len(days), "events": events}


def test_events_appear_in_their_window() -> None:
    counted = {**condition("count(x, 10d) >= 1", days=(28, 23)), "changes_at": "2026-12-03T00:00:00+00:00"}
    age = {"condition": "born < 2026-11-01", "true": False, "value": None}
    groups = [{"negated": False, "true": True, "conditions": [counted, age, condition("ever(x)", days=(1,))]}]
    at = "2026-11-28T00:00:00+00:00"
    example = {**Explanation.example, "as_of": at, "groups": groups}
    first, second, third = why_of(Explanation(**example), "acme").groups[0][1]
    assert ([one.at for one in first.events], first.window_at) == ([980, 500], 20)
    assert (first.window_from, first.changes_at) == ("2026-11-18T00:00:00+00:00", "2026-12-03T00:00:00+00:00")
    assert (second.value, second.counted) == ("–", None)
    assert (third.window_from, [one.at for one in third.events]) == (None, [20])


def test_steps_of_a_sequence_appear_with_what_they_wait_for(
    client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = "2026-11-28T00:00:00+00:00"
    step: dict[str, object] = {
        "reached_at": "2026-11-27T06:00:00+00:00",
        "waits_until": None,
        "value": 7.5,
        "counted": 3,
    }
    step |= {"step": "cart", "events": condition("", days=(27,))["events"]}
    waits = {"step": "not buy within 1d", "reached_at": None, "waits_until": at, "value": None, "counted": 0}
    one = {"condition": "sequence(cart then not buy within 1d same p, 10d)", "true": False, "changes_at": at}
    of_split = {"condition": "split(winter) < 5", "true": False, "value": 17.6}
    conditions = [{**one, "steps": [step, {**waits, "events": []}]}, of_split]
    groups = [{"negated": False, "true": False, "conditions": conditions}]
    plain = ANSWERS[ExplainUser]
    monkeypatch.setitem(ANSWERS, ExplainUser, lambda asked, mark: {**plain(asked, mark), "as_of": at, "groups": groups})
    shown = text_of(send(client, world, f"{USERS}/found", f"user={ANN}&segment=buyers"))
    assert "cart · reached 2026-11-27 06:00:00 UTC · the value is 7.5 · 3 events count · 1 of them is shown" in shown, (
        re.findall("cart.{300}", shown)
    )
    assert "not buy within 1d · waits until 2026-11-28 00:00:00 UTC · 0 events count" in shown
    assert "Without another event, this changes at 2026-11-28 00:00:00 UTC" in shown
    (first, _), *_ = (
        found for _, found in why_of(Explanation(**{**Explanation.example, "as_of": at, "groups": groups}), "a").groups
    )
    assert (first.window_at, [moment.at for moment in first.steps[0].events]) == (20, [884])


def test_lookup_and_explanation_of_a_user_are_audited_without_the_id(client: AsgiClient, world: World) -> None:
    assert "Look up a user" in text_of(send(client, world, USERS))
    shown = text_of(send(client, world, f"{USERS}/found", f"user={ANN}&segment=buyers"))
    assert "Not in segment buyers" in shown
    assert "Audiences plain Segments plain" in shown
    assert "Look up a user" in text_of(send(client, world, f"{USERS}/found", "user=+&segment=buyers"))
    entries = world.services.audit.search()
    assert sorted(entry.action for entry in entries) == ["segments explain", "users look up"]
    assert ANN not in str(entries)


def test_user_is_added_to_and_removed_from_audiences(client: AsgiClient, world: World) -> None:
    shown = send(client, world, f"{USERS}/found", f"user={ANN}", "acme-admin")
    assert "Change membership" in text_of(shown)
    assert "Change membership" not in text_of(send(client, world, f"{USERS}/found", f"user={ANN}"))
    key = re.findall(r'name="key" value="(\w+-add)"', shown.body.decode())[0]
    for _ in range(2):
        form = f"key={key}&user={ANN}&audience=vip&change=add"
        answer = send(client, world, f"{USERS}/membership", form, "acme-admin")
        assert answer.status == 303
    (event,) = world.workflow.started
    request = json.loads(event)["import"]
    assert (request["audience"], request["overrides"]["mode"]) == ("vip", "append")
    assert answer.headers["location"] == f"/console/tenants/acme/jobs/{request['job_id']}?started=1"
    for form, status in (
        (f"key=a&user={ANN}&audience=vip&change=remove", 303),
        (f"key=b&user={ANN}&audience=gone&change=add", 404),
        (f"key=c&user={ANN}&audience=vip&change=replace", 400),
        ("key=d&user=&audience=vip&change=add", 422),
    ):
        assert send(client, world, f"{USERS}/membership", form, "acme-admin").status == status
    assert send(client, world, f"{USERS}/membership", f"key=e&user={ANN}&audience=vip&change=add").status == 403
    assert ANN not in str(world.services.audit.search())
