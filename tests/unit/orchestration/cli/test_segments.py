"""`muster segments`, as far as it needs no stack: creating, showing, refusing and reporting."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.cli.main import main
from orchestration.cli.rule_files import rule_text
from orchestration.cli.segment_notes import unseen_notes
from orchestration.cli.segment_questions import _show_preview
from orchestration.composition.context import Context
from orchestration.operations.audiences import delete, find, rename
from orchestration.operations.segments import rule_of
from orchestration.platform.clock import now_ms
from orchestration.readers.questions import PreviewEdit
from schemas.errors import UserError
from schemas.ids import AudienceName, Partition, TenantName
from schemas.segment_messages import SegmentStatus
from segmentation.rules.parser import parse_rule
from segmentation.rules.records import rule_record
from tests.fakes.readers import ANSWERS
from tests.unit.orchestration.notifications.test_notices import make_context

CREATE = ("segments", "create", "buyers", "-t", "acme", "--rule")
BUYERS = AudienceName("buyers")


pytestmark = pytest.mark.usefixtures("service")


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path))
    monkeypatch.setenv("MUSTER_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("MUSTER_S3_ENDPOINT", "http://127.0.0.1:1")
    made = make_context(tmp_path, partitions=8)
    yield made
    made.database.close()


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "-t", "acme", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def say(context: Context, partition: int, **given: Any) -> None:
    values: dict[str, Any] = {"rule_version": 1, "partitions": 8, "paused": False, "members": 1_000}
    values |= {"at_us": now_ms() * 1000 - 5_000_000, "events": 0, "profiles": 0, "activations": 1, **given}
    context.segments.put_statuses(
        [SegmentStatus(tenant=TenantName("acme"), segment=BUYERS, partition=Partition(partition), **values)]
    )


def test_segment_is_created_shown_and_listed(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CREATE, "count(purchase, 3d) >= 2"]) == 0
    assert capsys.readouterr().out == "segment buyers is active, rule version 1\n"
    shown = answer(capsys, "segments", "show", "buyers")
    assert (shown["rule"], shown["rule_version"], shown["state"]) == ("count(purchase, 3d) >= 2", 1, "active")
    assert [shown[k] for k in ("members", "as_of", "lag_s", "reported", "complete")] == [None, None, None, 0, False]
    [listed] = answer(capsys, "segments", "list")
    assert listed.items() <= shown.items()
    for partition in range(7):
        say(context, partition)
    assert main(["segments", "show", "buyers", "-t", "acme"]) == 0
    said = capsys.readouterr().out
    assert "7,000 so far" in said
    assert "7 of 8 partitions have reported this version of the rule" in said
    say(context, 7)
    assert main(["segments", "list"]) == 0
    assert " 8,000 " in capsys.readouterr().out
    shown = answer(capsys, "segments", "show", "buyers")
    assert (shown["members"], shown["complete"], len(shown["of_partitions"])) == (8_000, True, 8)
    assert shown["lag_s"] >= 5
    assert shown["behind"] is None  # Kafka is away


def test_edited_rule_is_pending_until_partitions_report_it(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*CREATE, "ever(purchase)"])
    for partition in range(8):
        say(context, partition)
    main(["segments", "edit", "buyers", "-t", "acme", "--rule", "(ever(purchase))"])
    assert "The rule has the same meaning as before: nothing has changed." in capsys.readouterr().err
    main(
        ["--as", "bob", "segments", "edit", "buyers", "-t", "acme", "--rule", "seen = 2026-11-01", "--timezone", "UTC"]
    )
    capsys.readouterr()
    shown = answer(capsys, "segments", "show", "buyers")
    assert (shown["rule_version"], shown["reported"], shown["timezone"]) == (2, 0, "UTC")
    versions = answer(capsys, "segments", "versions", "buyers")
    assert [(v["rule_version"], v["rule"]) for v in versions] == [(1, "ever(purchase)"), (2, "seen = 2026-11-01")]
    assert versions[1]["author"] == "owner"
    assert main(["segments", "versions", "buyers", "-t", "acme"]) == 0
    assert "seen = 2026-11-01" in capsys.readouterr().out


def test_edit_is_shown_before_it_is_made(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    main([*CREATE, "in audience vip"])
    capsys.readouterr()
    edit = ["segments", "edit", "buyers", "--rule", "never(purchase)", "--dry-run"]
    assert main([*edit, "-t", "acme"]) == 0
    said = capsys.readouterr()
    lines = [line.split(maxsplit=2) for line in said.out.splitlines()]
    assert said.out.startswith("dry run      rule of buyers in place of version 1; nothing changed\n")
    assert [line[:3] for line in lines[1:4]] == [
        ["would", name, n] for name, n in (("enter", "3"), ("leave", "1"), ("stay", "2"))
    ]
    assert "also         depending: would enter 1, would leave 0" in said.out
    assert answer(capsys, *edit)["changes"][0]["entering"] == 3
    assert answer(capsys, "segments", "show", "buyers")["rule_version"] == 1


def test_large_edit_is_made_with_the_token_of_its_refusal(
    context: Context, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main([*CREATE, "ever(purchase)"])
    plain = ANSWERS[PreviewEdit]
    large = {"segment": "buyers", "entering": 0, "leaving": 4_000, "staying": 1_000}
    users: dict[str, list[str]] = {"entering_users": [], "leaving_users": []}
    monkeypatch.setitem(
        ANSWERS, PreviewEdit, lambda asked, mark: {**plain(asked, mark), "changes": [{**large, **users}]}
    )
    edit = ["segments", "edit", "buyers", "--rule", "in audience vip", "-t", "acme"]
    capsys.readouterr()
    assert main(edit) == 3
    said = capsys.readouterr().err
    assert said.startswith("EDIT_WOULD_CHANGE: segment buyers has not been changed: ")
    assert "buyers (0 would enter, 4,000 leave, 1,000 stay)" in said
    assert main([*edit, "--dry-run"]) == 0
    [token] = re.findall(r"--approve (\S+)", capsys.readouterr().err)
    assert main([*edit, "--approve", token]) == 0
    assert capsys.readouterr().out == "segment buyers is active, rule version 2\n"
    assert main(["segments", "upgrade", "buyers", "-t", "acme"]) == 3
    assert "EDIT_WOULD_CHANGE" in capsys.readouterr().err


def test_forecast_shows_the_change_from_now(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    main([*CREATE, "ever(purchase)"])
    capsys.readouterr()
    assert main(["segments", "forecast", "buyers", "--in", "10m, 30s,1h30s", "-t", "acme"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], *row[3:]) for row in rows[1:]] == [
        ("now", "2,340"),
        ("30s", "2,310", "-30"),
        ("10m", "1,740", "-600"),
        ("1h30s", "-1,290", "-3,630"),  # no reader would say so
    ]
    found = answer(capsys, "segments", "forecast", "buyers", "--in", "2d")
    assert [one["in_s"] for one in found["points"]] == [0, 172_800]
    for wrong in ("", "1y", "1h,,2h"):
        assert main(["segments", "forecast", "buyers", "--in", wrong, "-t", "acme"]) == 2


def test_upgrade_moves_a_rule_to_form_2_once(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    main([*CREATE, "rule 1: in audience vip"])
    capsys.readouterr()
    shown = answer(capsys, "segments", "upgrade", "buyers", "--dry-run")
    assert (shown["rule"], shown["rule_version"]) == ("rule 2: in audience vip", 1)
    assert answer(capsys, "segments", "upgrade", "buyers")["rule_version"] == 2
    assert answer(capsys, "segments", "show", "buyers")["rule"] == "rule 2: in audience vip"
    assert main(["segments", "upgrade", "buyers", "-t", "acme"]) == 0
    assert "The rule of buyers is in this form" in capsys.readouterr().err
    assert answer(capsys, "segments", "show", "buyers")["rule_version"] == 2


def test_a_segment_is_paused_resumed_and_deleted(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    main([*CREATE, "ever(purchase)"])
    capsys.readouterr()
    assert answer(capsys, "segments", "pause", "buyers")["state"] == "paused"
    assert answer(capsys, "segments", "resume", "buyers")["state"] == "active"
    assert answer(capsys, "segments", "delete", "buyers")["state"] == "deleted"
    assert answer(capsys, "segments", "list") == []
    assert main(["segments", "show", "buyers", "-t", "acme"]) == 3
    assert capsys.readouterr().err.startswith("UNKNOWN_SEGMENT: ")
    entries = [(e.action, e.object, e.after) for e in context.audit.search()]
    assert ("segments change state", "acme/segments/buyers") in [(action, name) for action, name, _ in entries]
    (made,) = [
        after for action, name, after in entries if (action, name) == ("segments create", "acme/segments/buyers")
    ]
    assert made is not None
    assert (made["state"], made["rule_version"], made["rule"]) == ("active", 1, "ever(purchase)")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("count(purchase) >= 2", "BAD_RULE: at character 15: "),
        (
            "in audience nobody",
            "UNKNOWN_AUDIENCE: at character 13: the rule says `in audience nobody`, but this audience does not exist",
        ),
        (
            "in segment vip",
            (
                "UNKNOWN_SEGMENT: at character 12: the rule says `in segment vip`, but this segment does not exist; "
                "vip is "
            ),
        ),
        ("in segment buyers", "SEGMENT_CYCLE: at character 12: segments are members of each other: buyers -> buyers"),
        ("seen = 2026-11-01", "BAD_RULE: "),
        ('{"rule": 1, "all": [{"any": []}]}', "BAD_RULE: at all[0]"),
        ("@no-such-file", "RULE_UNREADABLE: no-such-file cannot be read"),
    ],
)
def test_invalid_rule_is_refused_with_its_position(
    context: Context, rule: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*CREATE, rule]) == 3
    assert capsys.readouterr().err.startswith(said)
    assert context.segments.overviews() == []


def test_a_rule_is_read_from_a_file_as_text_or_json(tmp_path: Path) -> None:
    rule = parse_rule("ever(purchase) and age >= 25")
    (tmp_path / "a.rule").write_text("ever(purchase)\n  and age >= 25\n")
    (tmp_path / "a.json").write_text(json.dumps(rule_record(rule)))
    (tmp_path / "latin").write_bytes(b"ever(\xe9)")
    assert rule_of(rule_text(f"@{tmp_path}/a.rule"), None).rule == rule
    assert rule_of(rule_text(f"{tmp_path}/a.rule"), None).text == "ever(purchase)\n  and age >= 25"
    assert rule_of(rule_text(f"@{tmp_path}/a.json"), None).text == "ever(purchase) and age >= 25"
    with pytest.raises(UserError, match="BAD_TIMEZONE"):
        rule_of(rule_text(f"@{tmp_path}/a.json"), "UTC")
    with pytest.raises(UserError, match=r"RULE_UNREADABLE.*not UTF-8"):
        rule_text(f"@{tmp_path}/latin")


def test_referenced_audience_cannot_be_renamed_or_deleted(context: Context) -> None:
    main([*CREATE, "in audience vip"])
    vip = find(context.audiences, "acme", "vip")
    with pytest.raises(UserError, match="AUDIENCE_IN_USE: the rules of these segments name vip: buyers"):
        delete(
            vip,
            audiences=context.audiences,
            jobs=context.jobs,
            segments=context.segments,
            versions=context.versions,
            consent=context.consent,
        )
    with pytest.raises(UserError, match="AUDIENCE_IN_USE"):
        rename(vip, "loyal", audiences=context.audiences, segments=context.segments, versions=context.versions)
    main(["segments", "delete", "buyers", "-t", "acme"])
    main([*CREATE, "ever(purchase)"])
    with pytest.raises(UserError, match="NAME_TAKEN"):
        rename(vip, "buyers", audiences=context.audiences, segments=context.segments, versions=context.versions)


def unseen(**given: Any) -> list[str]:
    return list(unseen_notes({"unseen_events": [], "unseen_attributes": [], "suggestions": [], **given}))


def test_unknown_names_are_listed_up_to_a_limit_and_counted() -> None:
    said = unseen(unseen_attributes=[f"a{n}" for n in range(1_000)])
    assert said[19:] == [
        "Note: no user has ever had the attribute 'a19'.",
        "Note: the same is true of 980 more attributes.",
    ]


def test_note_suggests_the_correct_condition() -> None:
    of_event = {"attribute": "a", "condition": "a = 1", "events": ["e1", "e2"], "instead": ["x", "y"]}
    by_id = {"attribute": "user_id", "condition": '"user_id" = "u"', "events": [], "instead": ["in audience chosen"]}
    assert unseen(suggestions=[of_event, by_id]) == [
        "Note: a is a property of events such as e1, e2. In place of `a = 1`, write `x` or `y`.",
        (
            "Note: a rule does not list users. Import the ids as an audience, and write `in audience chosen` in place "
            'of `"user_id" = "u"`.'
        ),
    ]


@pytest.mark.parametrize(
    ("members", "rounded_to", "line"),
    [(1230, None, "1,230 users"), (1230, 10, "about 1,230 users"), (None, 10, "fewer than about 10 users")],
)
def test_preview_marks_rounded_numbers(
    capsys: pytest.CaptureFixture[str], members: int | None, rounded_to: int | None, line: str
) -> None:
    nothing: dict[str, Any] = {
        "unseen_events": [],
        "unseen_attributes": [],
        "mistyped": None,
        "outside": None,
        "known_only_by": None,
        "paused": [],
    }
    nothing["suggestions"] = []
    _show_preview({"members": members, "rounded_to": rounded_to, **nothing})
    assert capsys.readouterr().out == f"{line}\n"
