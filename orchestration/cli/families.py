"""The first words of all commands and the modules behind them, each loaded when its command is used."""

from collections.abc import Iterator, MutableMapping, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


class Family(NamedTuple):
    """Location of a command or group (modules of this package; the first has it in its `TOP`), and its help."""

    modules: Sequence[str]
    help: str
    hidden: bool = False


FAMILIES: Final = {
    "up": Family(["stack_commands"], "Start the embedded stack and wait until it is ready."),
    "down": Family(["stack_commands"], "Stop the embedded stack."),
    "status": Family(["stack_commands"], "Show the parts of the embedded stack, and all workers, wherever they run."),
    "doctor": Family(["stack_commands"], "Say in words what is wrong, and what to do."),
    "worker": Family(["stack_commands"], "Run one worker in the foreground."),
    "connect": Family(["connect_commands"], "Show where the deployment is, and how programs connect to it."),
    "import": Family(
        ["import_commands"], "Import a file as the next version of an audience, or as events or changes of profiles."
    ),
    "inspect": Family(["import_commands"], "Look into a file: columns, types, faults."),
    "receipt": Family(["receipts"], "Show the receipt of a READY job."),
    "rejects": Family(["receipts"], "Show the rows of a job that were refused."),
    "sql": Family(["lake_commands"], "Query published audiences and rejects."),
    "fsck": Family(["lake_commands"], "Hold staging, lake and catalog against each other."),
    "export": Family(["export_commands"], "Write a version of an audience as files with a manifest."),
    "verify": Family(["export_commands"], "Check an export from its manifest alone, and name the first difference."),
    "explain": Family(["segment_questions"], "Say why a user is in a segment or not, by what is archived."),
    "audit": Family(["audit_commands"], "Show who did what: people, and Muster by itself."),
    "backup": Family(["backup_commands"], "Copy catalog and lake to an empty place."),
    "restore": Family(["backup_commands"], "Load a backup into an empty deployment."),
    "jobs": Family(["job_commands"], "Jobs of all kinds: list, show, wait for, cancel, retry."),
    "tenants": Family(["tenant_commands"], "Tenants: create, configure, list."),
    "audiences": Family(["audience_commands", "version_commands"], "Audiences and their versions."),
    "dead-letters": Family(["lake_commands"], "Messages that no worker could decode."),
    "exports": Family(["exports_commands"], "Old names of `muster jobs` for exports.", hidden=True),
    "schedules": Family(
        ["schedule_commands", "schedule_creation"], "Recurring imports and exports: create, pause, resume, run, delete."
    ),
    "segments": Family(
        ["segment_commands", "segment_questions", "segment_recovery", "segment_snapshots"],
        "Segments: the users for whom a rule is true, kept current.",
    ),
    "notifications": Family(["notification_commands"], "Mail and webhooks that were not delivered; keys of webhooks."),
    "deploy": Family(["deploy_commands"], "The deployment to AWS: one CloudFormation template from one settings file."),
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
        raise TypeError("no command is ever taken away")

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
        told = {
            name: TyperCommand(name=name, help=family.help, hidden=family.hidden) for name, family in FAMILIES.items()
        }
        TyperGroup(commands={**told}).format_commands(ctx, formatter)
