"""Who did what: every command that changes something, and every automatic change, leaves a permanent entry."""

import json

import pytest
import sqlalchemy as sa

from orchestration.catalog.auditing import record, record_automatic
from orchestration.cli.audit_commands import since_ms
from orchestration.cli.main import main
from orchestration.composition.context import Context
from schemas.errors import UserError
from tests.unit.orchestration.cli.test_command_line import LEAVES
from tests.unit.orchestration.notifications.test_notices import FAULT, ended

CHANGES = {
    "feeds key",
    "fsck",
    "notifications key",
    "backup",
    "restore",
    "identities admin-token",
    "identities rotate-owner",
    "segments rebase",
}
"""Commands that write an entry; `fsck` only with --repair."""


def test_commands_in_admin_that_change_something_write_an_entry() -> None:
    audited = {" ".join(path[1:]) for path, command in LEAVES.items() if command.callback.audited}
    assert audited == CHANGES


@pytest.mark.usefixtures("service")
def test_change_is_audited_with_author_and_both_states(context: Context) -> None:
    hook = "https://acme.example/hook?token=hush"
    arguments = ["audiences", "configure", "vip", "-t", "acme", "--keep-versions", "3", "--notify-webhook", hook]
    assert main(arguments) == 0
    [entry] = context.audit.search()
    assert (entry.actor, entry.action, entry.object) == ("owner", "audiences configure", "acme/vip")
    assert entry.before is not None
    assert entry.after is not None
    assert (entry.before["retention"]["versions"], entry.after["retention"]["versions"]) == (10, 3)
    assert entry.after["notified"] == [{"channel": "webhook", "address": "https://acme.example/hook"}]
    assert "hush" not in str(entry)


@pytest.mark.usefixtures("service")
def test_refused_change_is_audited_with_its_error(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    job_id = ended(context, FAULT)
    assert main(["jobs", "cancel", job_id]) == 3
    capsys.readouterr()
    assert main(["audit", "--job", job_id, "--json"]) == 0
    [entry] = json.loads(capsys.readouterr().out)
    assert (entry["actor"], entry["action"], entry["job"]) == ("owner", "jobs cancel", job_id)
    assert (entry["error"], entry["before"]["state"], entry["after"]) == ("TOO_LATE", "FAILED", None)


@pytest.mark.usefixtures("service")
def test_on_behalf_of_is_a_note_not_an_identity(context: Context) -> None:
    assert main(["--as", "Zoë", "tenants", "create", "globex"]) == 0
    [entry] = context.audit.search()
    assert (entry.actor, entry.arguments) == ("owner", {"as": "Zoë"})


@pytest.mark.usefixtures("service")
def test_entry_belongs_to_the_tenant_of_the_changed_thing(context: Context) -> None:
    job = context.jobs.get(ended(context, FAULT))
    assert main(["jobs", "cancel", job.job_id]) == 3
    assert main(["tenants", "create", "globex"]) == 0
    assert main(["audiences", "configure", "vip", "-t", "acme", "--keep-versions", "3"]) == 0
    record_automatic(context.audit, "sweeper", "cancel", job, {})
    tenants = {(entry.action, entry.object): entry.tenant for entry in context.audit.search()}
    assert tenants == {
        ("jobs cancel", "acme/vip"): "acme",
        ("tenants create", "globex"): None,
        ("audiences configure", "acme/vip"): "acme",
        ("cancel", "acme/vip"): "acme",
    }


@pytest.mark.usefixtures("service")
def test_crashed_command_is_not_audited_as_done(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(context.audiences), "configure", crash)
    assert main(["audiences", "configure", "vip", "-t", "acme", "--keep-versions", "3"]) == 1
    [entry] = context.audit.search()
    assert (entry.action, entry.error) == ("audiences configure", "ZeroDivisionError")


@pytest.mark.usefixtures("service")
def test_reading_leaves_no_audit_entry(context: Context) -> None:
    for arguments in (["jobs", "list"], ["tenants", "list"], ["audit"], ["notifications", "list"]):
        assert main(arguments) == 0
    assert context.audit.search() == []


def test_audit_entries_are_immutable(context: Context) -> None:
    record(context.audit, "alice", "audiences delete", "acme/vip")
    for statement in ("UPDATE audit SET actor = 'bob'", "DELETE FROM audit"):
        with pytest.raises(sa.exc.IntegrityError, match="append only"), context.database.write() as connection:
            connection.execute(sa.text(statement))
    assert [entry.actor for entry in context.audit.search()] == ["alice"]


@pytest.mark.usefixtures("service")
def test_automatic_changes_are_audited(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    job = context.jobs.get(ended(context, FAULT))
    record_automatic(context.audit, "sweeper", "cancel", job, {"state": "CANCELLED"})
    assert main(["audit", "-t", "acme", "--audience", "vip", "--since", "1h"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[2:] == ["sweeper", "cancel", "acme/vip", job.job_id]


def test_times_are_parsed_as_age_or_date() -> None:
    assert since_ms("12h", 100_000_000) == 56_800_000
    assert since_ms("1970-01-02", 0) == since_ms("1970-01-02T00:00:00+00:00", 0) == 86_400_000
    for text in ("yesterday", "7w", "-1d"):
        with pytest.raises(UserError, match="BAD_TIME"):
            since_ms(text, 0)
