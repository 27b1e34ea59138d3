"""Edits of segments: what they would change is shown, and a change of many members needs an approval."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestration.access import edit_guard
from orchestration.catalog.audit import AuditEntry
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Settings
from orchestration.readers.questions import PreviewEdit
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.readers import ANSWERS
from tests.fakes.tenants import BUYERS, World

PATH = f"/v1/tenants/acme/segments/{BUYERS}"
RULE = 'never("x")'
Numbers = tuple[int, int, int]
"""Users who enter, leave and stay."""


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what readers answer: the numbers of the segment and of one that depends on it, or an error."""

    def set_answer(own: Numbers | MusterError, other: Numbers = (0, 0, 0)) -> None:
        def found(asked: PreviewEdit, _: str) -> Any:
            if isinstance(own, MusterError):
                raise own
            changes = [
                {
                    **dict(zip(("entering", "leaving", "staying"), numbers, strict=True)),
                    "segment": name,
                    "entering_users": [],
                    "leaving_users": [],
                }
                for name, numbers in ((asked.segment, own), ("depending", other))
            ]
            about = {"rule_version": 1, "rule": asked.rule, "timezone": None, "same": False}
            return {**about, "as_of": "2026-12-03T06:00:00+00:00", "changes": changes, "paused": []}

        monkeypatch.setitem(ANSWERS, PreviewEdit, found)

    return set_answer


def edit(client: AsgiClient, token: str, rule: str = RULE, approve: str | None = None) -> Answer:
    etag = client.get(PATH, token=token).headers["etag"]
    return client.send("PUT", PATH, token=token, body={"rule": rule, "approve": approve}, headers={"If-Match": etag})


def entries(world: World, action: str) -> list[AuditEntry]:
    return [entry for entry in world.services.audit.search() if entry.action == action]


def test_preview_names_users_and_what_depends(client: AsgiClient, world: World, token: str) -> None:
    for name, body in (
        ("of-buyers", {"snapshot": {"segment": BUYERS, "audience": "vip"}}),
        ("sent", {"export": {"audience": "vip", "to": "s3://crm/acme/out/{date}/"}}),
        ("other", {"snapshot": {"segment": BUYERS, "audience": "vip"}}),
    ):
        made = {"name": name, "expression": "rate(1 day)", **body}
        created = client.send("POST", "/v1/tenants/acme/schedules", token=token, body=made)
        assert created.status == 201, created.json
    shown = client.send("POST", f"{PATH}/edit-previews", token=token, body={"rule": RULE, "users": 1}).json
    own, depending = shown["changes"]
    assert (own["segment"], own["entering"], own["leaving"], own["staying"]) == (BUYERS, 3, 1, 2)
    assert (own["entering_users"], own["leaving_users"], depending["entering_users"]) == (["plain"], ["plain"], [])
    assert [name for name in shown["schedules"] if name in {"of-buyers", "sent", "other"}] == [
        "of-buyers",
        "other",
        "sent",
    ]
    assert shown["feeds"] == ["members"]
    assert (shown["rule"], shown["rule_version"], shown["approve"]) == (RULE, 1, None)
    assert client.get(PATH, token=token).json["rule_version"] == 1
    (entry,) = entries(world, "segments preview edit")
    assert entry.arguments == {"rule": RULE, "users": 1}


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ((1000, 0, 0), (0, 0, 0)),  # not more than 1,000
        ((0, 2000, 8000), (0, 0, 0)),  # not more than 20 %
        ((1000, 1000, 9000), (0, 0, 0)),
    ],
)
def test_smaller_edits_are_made_and_their_numbers_recorded(
    client: AsgiClient, world: World, token: str, answer: Callable[..., None], own: Numbers, other: Numbers
) -> None:
    answer(own, other)
    assert edit(client, token).status == 200
    (entry,) = entries(world, "segments edit")
    counts = dict(zip(("entering", "leaving", "staying"), own, strict=True))
    assert entry.arguments["changes"][0] == {"segment": BUYERS, **counts}
    assert "approved" not in entry.arguments


@pytest.mark.parametrize(
    ("own", "other"),
    [((1001, 0, 0), (0, 0, 0)), ((0, 2001, 7999), (0, 0, 0)), ((1, 1, 1), (0, 5000, 100))],
)
def test_large_edit_is_refused_until_its_numbers_are_approved(
    client: AsgiClient, world: World, token: str, answer: Callable[..., None], own: Numbers, other: Numbers
) -> None:
    answer(own, other)
    refused = edit(client, token)
    assert (refused.status, refused.json["code"]) == (422, "EDIT_WOULD_CHANGE")
    values = refused.json["values"]
    assert [tuple(one[n] for n in ("entering", "leaving", "staying")) for one in values["changes"]] == [own, other]
    assert f"{own[1]:,} leave" in refused.json["detail"]
    assert client.get(PATH, token=token).json["rule_version"] == 1
    shown = client.send("POST", f"{PATH}/edit-previews", token=token, body={"rule": RULE}).json
    assert values["approve"] in refused.json["detail"]
    done = edit(client, token, approve=shown["approve"])
    assert (done.status, done.json["rule_version"]) == (200, 2)
    made = [e for e in entries(world, "segments edit") if e.error is None]
    assert [e.arguments["approved"] for e in made] == [True]


def test_approval_is_of_one_edit_for_a_day(
    client: AsgiClient, token: str, answer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer((0, 5000, 100))
    approve = edit(client, token).json["values"]["approve"]
    other = edit(client, token, rule='never("y")', approve=approve).json
    assert other["code"] == "EDIT_WOULD_CHANGE"
    assert "for another change" in other["detail"]
    for forged in (f"x{approve}", approve[:-1], approve.partition(".")[0], "", "."):
        assert edit(client, token, approve=forged).json["code"] == "EDIT_WOULD_CHANGE"
    later = now_ms() + (edit_guard.APPROVED_S + 2) * 1000
    with monkeypatch.context() as patched:
        patched.setattr(edit_guard, "now_ms", lambda: later)
        assert edit(client, token, approve=approve).json["code"] == "EDIT_WOULD_CHANGE"
    # Another rule since then: what it would change is another change.
    answer((0, 1, 1))
    assert edit(client, token, rule='never("y")').status == 200
    answer((0, 5000, 100))
    assert "for another change" in edit(client, token, approve=approve).json["detail"]


@pytest.mark.parametrize(
    ("approved", "now", "made"),
    [
        ((0, 5000, 100), (0, 5499, 100), True),
        ((0, 5000, 100), (0, 5500, 100), False),
        ((0, 5000, 100), (250, 4750, 100), False),
        ((0, 1100, 100), (0, 1209, 100), True),
        ((0, 5000, 100), (0, 10, 5000), True),  # needs no approval any more
    ],
)
def test_approval_holds_while_the_numbers_are_less_than_a_tenth_off(
    client: AsgiClient,
    token: str,
    answer: Callable[..., None],
    approved: Numbers,
    now: Numbers,
    made: bool,  # noqa: FBT001
) -> None:
    answer(approved)
    approve = edit(client, token).json["values"]["approve"]
    answer(now)
    again = edit(client, token, approve=approve)
    assert (again.status == 200) == made
    if not made:
        assert "a tenth off" in again.json["detail"]
        assert edit(client, token, approve=again.json["values"]["approve"]).status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RetriableError("LAKE_UNAVAILABLE", "the lake does not answer"), 503),
        (FatalError("READER_FAILED", "a secret path"), 503),
        (UserError("RULE_TOO_BIG", "too big"), 422),
    ],
)
def test_edit_that_cannot_be_counted_is_made_only_if_approved_uncounted(
    client: AsgiClient, world: World, token: str, answer: Callable[..., None], error: MusterError, status: int
) -> None:
    answer(error)
    refused = edit(client, token)
    assert (refused.status, refused.json["code"]) == (status, "EDIT_NOT_COUNTED")
    assert "secret" not in refused.json["detail"]
    assert client.get(PATH, token=token).json["rule_version"] == 1
    uncounted = refused.json["values"]["approve"]
    answer((0, 5000, 100))
    counted = edit(client, token, approve=uncounted)  # it can be counted again
    assert counted.json["code"] == "EDIT_WOULD_CHANGE"
    answer(error)
    assert edit(client, token, approve=counted.json["values"]["approve"]).json["code"] == "EDIT_NOT_COUNTED"
    assert edit(client, token, approve=uncounted).status == 200
    made = [e for e in entries(world, "segments edit") if e.error is None]
    assert [e.arguments["uncounted"] for e in made] == [error.code]


def test_what_is_no_large_edit_is_not_counted(
    client: AsgiClient, world: World, token: str, answer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(UserError("TOO_MANY_QUESTIONS", "busy"))
    assert edit(client, token).json["code"] == "TOO_MANY_QUESTIONS"  # the caller's own limit
    rule = client.get(PATH, token=token).json["rule"]
    assert edit(client, token, rule=f"({rule})").status == 200
    stale = client.send("PUT", PATH, token=token, body={"rule": RULE}, headers={"If-Match": '"old"'})
    assert stale.json["code"] == "STALE_ETAG"
    client.send("PUT", f"{PATH}/state", token=token, body={"state": "paused"})
    assert edit(client, token).json["code"] == "SEGMENT_PAUSED"
    client.send("PUT", f"{PATH}/state", token=token, body={"state": "active"})
    monkeypatch.setattr(Settings, "segment_edit_max_percent", 0)
    assert edit(client, token).status == 200
