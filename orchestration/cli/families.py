"""The first words of all commands and the modules behind them, each loaded when its command is used."""

from collections.abc import Iterator, MutableMapping, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


class Family(NamedTuple):
    """Location of a command or group (modules in this package; the first has it in its `TOP`), and its help."""

    modules: Sequence[str]
    help: str
    hidden: bool = False


FAMILIES: Final = {
    "up": Family(["admin.stack"], "Start the embedded stack and wait until it is ready."),
    "down": Family(["admin.stack"], "Stop the embedded stack."),
    "status": Family(["admin.stack"], "Show the parts of the embedded stack and all workers."),
    "doctor": Family(["admin.stack"], "Check every part, and say what is wrong and how to fix it."),
    "worker": Family(["admin.stack"], "Run one worker in the foreground."),
    "connect": Family(["admin.connect"], "Show addresses of the deployment and connection snippets."),
    "import": Family(
        ["import_commands"], "Import members, events or profile changes from a file, or from several as one."
    ),
    "inspect": Family(["admin.inspect"], "Inspect a file: columns, types, faults."),
    "receipt": Family(["receipts"], "Show the receipt of a READY job."),
    "rejects": Family(["receipts"], "Show the rejected rows of a job."),
    "sql": Family(["sql_commands"], "Query audiences, segments, events, profiles and rejects."),
    "fsck": Family(["admin.fsck"], "Compare staging, lake and catalog."),
    "export": Family(["export_commands"], "Write a version of an audience or a segment as files with a manifest."),
    "verify": Family(["admin.verify"], "Verify an export from its manifest alone."),
    "explain": Family(["segment_questions"], "Explain from the archive why a user is in a segment or not."),
    "login": Family(["access_commands"], "Store a token for a service."),
    "console": Family(["access_commands"], "Open the service in a browser, logged in."),
    "docs": Family(["docs_command"], "Open the documentation in a browser."),
    "tokens": Family(["access_commands"], "Make, list and revoke tokens of the service."),
    "grants": Family(["grant_commands"], "Show and set who has which roles, and withdraw access."),
    "identities": Family(["admin.identities"], "Break-glass access: on the catalog, without the service."),
    "audit": Family(["audit_commands"], "Show who did what: users, and Muster itself."),
    "backup": Family(["admin.backup"], "Back up catalog and lake to an empty directory or prefix."),
    "restore": Family(["admin.backup"], "Load a backup into an empty deployment."),
    "jobs": Family(["job_commands"], "List, show, wait for, cancel and retry jobs of all kinds."),
    "tenants": Family(["tenant_commands"], "Create, configure and list tenants."),
    "audiences": Family(
        ["audience_commands", "audience_settings", "build_commands", "member_commands", "version_commands"],
        "Manage audiences and their versions.",
    ),
    "consent": Family(["consent_commands"], "Show and set whose members exports leave out."),
    "dead-letters": Family(["dead_letter_commands"], "List, replay and dismiss messages that no worker could process."),
    "feeds": Family(["feed_commands", "admin.feed_key"], "Deliver who enters and leaves a segment."),
    "schedules": Family(
        ["schedule_commands", "schedule_creation", "schedule_edits"], "Manage recurring imports, exports and snapshots."
    ),
    "segments": Family(
        [
            "segment_commands",
            "segment_edits",
            "segment_questions",
            "segment_members",
            "admin.rebase",
            "segment_snapshots",
        ],
        "Manage segments: the users that match a rule, kept current.",
    ),
    "notifications": Family(
        ["notification_commands", "admin.webhook_key"], "Test, list and resend notifications; write webhook keys."
    ),
    "deploy": Family(["admin.deploy"], "Write and compare templates of deployments to AWS."),
}


class Families(MutableMapping[str, Any]):
    """The commands and groups of `FAMILIES` by name, each created when it is looked up."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            first, *_ = [import_module(f"orchestration.cli.{module}") for module in FAMILIES[name].modules]
            self._made[name] = get_group(first.TOP).commands[name]
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(FAMILIES)

    def __len__(self) -> int:
        return len(FAMILIES)


class Muster(TyperGroup):
    """The `muster` command: its help names all commands without loading any."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = Families()

    def list_commands(self, ctx: Any) -> list[str]:
        """First words of all commands, in the order of the help."""
        del ctx
        return list(FAMILIES)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands and their help from the table."""
        listed = {
            name: TyperCommand(name=name, help=family.help, hidden=family.hidden) for name, family in FAMILIES.items()
        }
        TyperGroup(commands={**listed}).format_commands(ctx, formatter)
