"""`muster audiences` through the service: the same output as when commands read the catalog themselves."""

import json
from typing import Any

import pytest

from orchestration.cli.main import main
from orchestration.composition.context import Context
from orchestration.composition.service import Services
from orchestration.readers.questions import CompareVersions
from schemas.ids import AudienceName, TenantName
from schemas.import_targets import MAX_NAMED_USERS
from tests.fakes.objects import InMemoryObjects
from tests.fakes.readers import ANSWERS
from tests.fakes.workflow import InMemoryWorkflow
from tests.unit.orchestration.cli.conftest import answer

KEYS = ["tenant", "audience", "audience_id", "spec", "folders", "retention", "created_at", "current", "told"]


@pytest.mark.usefixtures("service")
def test_an_audience_is_shown_after_every_change_and_in_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    made = answer(capsys, "audiences", "create", "gold", "-t", "acme", "--column", "age:long=Age", "--keep-days", "3")
    assert list(made) == KEYS
    assert (made["current"], made["told"], made["retention"]) == (None, [], {"versions": 10, "days": 3})
    options = ("--notify-email", "a@acme.example", "--notify-webhook", "https://acme.example/hook?token=hush")
    changed = answer(capsys, "audiences", "configure", "gold", "-t", "acme", "--allow-shrink", *options)
    assert changed["spec"] == {**made["spec"], "max_shrink_percent": None}
    recipients = [
        {"channel": "email", "address": "a@acme.example"},
        {"channel": "webhook", "address": "https://acme.example/hook"},
    ]
    assert changed["told"] == recipients
    assert answer(capsys, "audiences", "show", "gold", "-t", "acme") == changed
    kept = answer(capsys, "audiences", "configure", "gold", "-t", "acme", "--notify-email", "b@acme.example")
    assert [one["address"] for one in kept["told"]] == ["b@acme.example", "https://acme.example/hook"]
    assert answer(capsys, "audiences", "configure", "gold", "-t", "acme", "--notify-nobody")["told"] == []
    listed = answer(capsys, "audiences", "list", "-t", "acme")
    assert {**listed[0], "told": []} == answer(capsys, "audiences", "show", "gold", "-t", "acme")
    assert [one["audience"] for one in listed] == ["gold", "vip"]
    assert answer(capsys, "audiences", "list") == listed


@pytest.mark.usefixtures("service")
def test_text_output_is_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    columns = ("--column", "age:long=Age", "--timezone", "Asia/Tokyo", "--max-reject-share", "0.1", "--refuse-empty")
    assert main(["audiences", "create", "gold", "-t", "acme", *columns]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "audience acme/gold",
        "mode replace",
        "id column user_id",
        "columns age:long=Age",
        "format from the file name",
        "time zone Asia/Tokyo",
        "rejects at most 10 % of the rows",
        "empty file refused",
        "shrinking at most 50 %",
        "kept 10 versions, and all younger than 30 days",
        "notified nobody",
    ]
    assert main(["audiences", "list", "-t", "acme"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()][1:] == [
        ["acme/gold", "-", "-", "-"],
        ["acme/vip", "-", "-", "-"],
    ]


@pytest.mark.usefixtures("service")
def test_event_settings_are_shown_and_changed(capsys: pytest.CaptureFixture[str]) -> None:
    shown = answer(capsys, "audiences", "show", "_events", "-t", "acme")
    assert (list(shown), shown["audience"]) == (["tenant", "audience", "spec"], "_events")
    changed = answer(capsys, "audiences", "configure", "_events", "-t", "acme", "--column", "total:double")
    assert [column["name"] for column in changed["spec"]["known_columns"]] == ["total"]
    assert answer(capsys, "audiences", "show", "_events", "-t", "acme") == changed


@pytest.mark.usefixtures("service")
def test_settings_are_reset_by_option_name(capsys: pytest.CaptureFixture[str]) -> None:
    configure = ("audiences", "configure", "vip", "-t", "acme")
    before = answer(capsys, "audiences", "show", "vip", "-t", "acme")
    given = ("--mode", "append", "--null", "-", "--max-shrink", "7", "--keep-days", "3", "--keep-versions", "4")
    answer(capsys, *configure, *given)
    after = answer(capsys, *configure, "--reset", "mode", "--reset", "null", "--reset", "keep-days")
    assert after["spec"] == {**before["spec"], "max_shrink_percent": 7}
    assert after["retention"] == {"versions": 4, "days": before["retention"]["days"]}
    events = ("audiences", "configure", "_events", "-t", "acme")
    first = answer(capsys, *events, "--timezone", "Asia/Tokyo")
    assert answer(capsys, *events, "--reset", "timezone")["spec"] == {**first["spec"], "timezone": None}
    for wrong in (
        (*configure, "--reset", "max-shrink"),
        (*configure, "--reset", "drop-column"),
        (*configure, "--reset", "mode", "--mode", "append"),
        (*configure, "--reset", "keep-days", "--keep-days", "1"),
        (*events, "--reset", "keep-days"),
    ):
        assert main([*wrong]) == 2
    capsys.readouterr()


def test_invalid_recipient_changes_nothing(
    context: Context, service: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    del service
    given = ("--keep-versions", "3", "--notify-email", "nowhere")
    refused = answer(capsys, "audiences", "configure", "vip", "-t", "acme", *given, code=3)
    assert refused["error"]["code"] == "BAD_RECIPIENT"
    assert context.audiences.get(TenantName("acme"), AudienceName("vip")).retention.versions == 10


def test_change_overtaken_by_others_is_retried(
    service: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant, audience = TenantName("acme"), service.audiences.get(TenantName("acme"), AudienceName("vip"))
    found: list[int] = []
    configure = type(service.audiences).configure

    def overtaken(self: Any, *args: Any, **given: Any) -> None:
        if not found:
            found.append(1)
            spec = audience.spec.with_changes({"mode": "append"})
            configure(self, audience.audience_id, spec=spec, retention=audience.retention)
        configure(self, *args, **given)

    monkeypatch.setattr(type(service.audiences), "configure", overtaken)
    changed = answer(capsys, "audiences", "configure", "vip", "-t", tenant, "--keep-versions", "3")
    assert (changed["retention"]["versions"], changed["spec"]["mode"]) == (3, "append")


def test_difference_is_paged_by_kind_with_changed_values(
    service: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {
        "added": 0,
        "removed": 1,
        "changed": 2,
        "kept": 5,
        "sample": {"changed": ["ann b", "bob"]},
        "changes": [{"user": "bob", "columns": {"age": {"earlier": None, "later": "31"}}}],
    }
    monkeypatch.setitem(ANSWERS, CompareVersions, lambda *_: found)
    diff = ("audiences", "diff", "vip", "3", "5", "-t", "acme")
    assert answer(capsys, *diff) == {kind: found[kind] for kind in ("added", "removed", "changed", "kept")}
    assert main([*diff, "--change", "changed", "--values", "--sample", "2", "--after", "ann"]) == 0
    shown = capsys.readouterr()
    assert "  bob: age none -> 31" in shown.out.splitlines()
    assert "--after bob" in shown.out + shown.err
    assert main([*diff, "--change", "changed"]) == 0
    assert "--after" not in "".join(capsys.readouterr())  # a page that is not full is the last
    assert main([*diff, "--change", "kept"]) == 2
    asked = [one for one in service.readers.asked if isinstance(one, CompareVersions)]  # type: ignore[attr-defined]
    assert [(one.sample, one.after, one.change, one.values) for one in asked] == [
        (0, None, None, False),
        (2, "ann", "changed", True),
        (100, None, "changed", False),
    ]


def test_single_users_are_added_and_removed(service: Services, capsys: pytest.CaptureFixture[str]) -> None:
    engine, objects = InMemoryWorkflow(), InMemoryObjects()
    vars(service).update(workflow=engine, objects=objects)
    for word, mode in (("add", "append"), ("remove", "remove")):
        found = answer(capsys, "audiences", word, "vip", "ann", "bob", "-t", "acme")
        request = json.loads(engine.started[-1])["import"]
        assert (found, request["overrides"]["mode"]) == ({"job": request["job_id"], "state": "SUBMITTED"}, mode)
        assert objects.get("staging", request["key"]).count(b"\n") == 2
    many = [f"u{number}" for number in range(MAX_NAMED_USERS + 1)]
    assert main(["audiences", "add", "vip", *many, "-t", "acme"]) == 2
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "muster import FILE --audience vip --mode append" in shown
    assert len(engine.started) == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("add", "gone", "ann"), "UNKNOWN_AUDIENCE"),
        (("remove", "vip", " "), "INVALID_REQUEST"),
        (("create", "vip"), "AUDIENCE_EXISTS"),
        (("create", "../x"), "BAD_NAME"),
        (("show", "gone"), "UNKNOWN_AUDIENCE"),
        (("configure", "gone", "--mode", "append"), "UNKNOWN_AUDIENCE"),
        (("compact", "vip"), "NOTHING_PUBLISHED"),
    ],
)
@pytest.mark.usefixtures("service")
def test_refusal_keeps_its_code(arguments: tuple[str, ...], code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "audiences", *arguments, "-t", "acme", code=3)["error"]["code"] == code
