"""`muster schedules`: recurring imports, exports and snapshots."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Done, Group, command, show_done
from orchestration.cli.console import print_line, print_note, print_pairs, print_table
from orchestration.cli.formatting import safe, text_time
from schemas.import_targets import kind_of_target
from schemas.job_kinds import REQUEST_KINDS, id_of

TOP = Group("")
schedules = Group("schedules", "muster schedules list", "muster schedules show nightly")
TOP.add_typer(schedules)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.")]


def show_changed(schedule: Record) -> None:
    """Print a schedule that was created or changed."""
    when = f"{schedule['expression']} in {schedule['timezone']}"
    print_line(f"schedule {schedule['name']}: {when}, next due {_next_due(schedule)}")


def _show_list(found: Sequence[Record]) -> None:
    if not found:
        print_note("There are no schedules.")
        return
    print_table(
        ("TENANT", "NAME", "KIND", "WHEN", "ZONE", "NEXT DUE", "LAST DUE", "LAST RUN"),
        [
            (
                *(s["tenant"], s["name"], _repeated(s), s["expression"], s["timezone"]),
                *(_next_due(s), "" if s["last"] is None else _moment(s["last"]["due"]), _last_run(s)),
            )
            for s in found
        ],
    )


def _show_schedule(schedule: Record) -> None:
    last, trouble = schedule["last"], schedule["trouble"]
    pairs: list[tuple[str, object]] = [
        ("schedule", f"{schedule['tenant']}/{schedule['name']}, {_repeated(schedule)}"),
        ("when", f"{schedule['expression']} in {schedule['timezone']}"),
        ("next due", _next_due(schedule)),
        ("last run", "none" if last is None else f"due {_moment(last['due'])}: {_last_run(schedule)}"),
    ]
    if last is not None and last["error"] is not None:
        pairs.append(("error", f"{last['error']['code']}: {last['error']['message']}"))
    if trouble is not None:
        pairs.append(("cannot start", f"{trouble['code']}: {trouble['message']}"))
    pairs += [(key, safe(value)) for key, value in schedule["request"].items() if value not in ({}, False, None)]
    print_pairs(pairs)


def _repeated(schedule: Record) -> str:
    """What the schedule repeats: import, import of events, ..."""
    rows, kind = kind_of_target(str(schedule["request"]["audience"])), schedule["kind"]
    return str(kind) if rows == "audience" else f"{kind} of {rows}"


def _moment(at: str) -> str:
    return f"{text_time(at)} UTC"


def _next_due(schedule: Record) -> str:
    if not schedule["enabled"]:
        return "paused"
    return "never again" if schedule["next_due"] is None else _moment(schedule["next_due"])


def _last_run(schedule: Record) -> str:
    """Result of the last run, or why the due one does not start."""
    last = schedule["last"]
    if schedule["trouble"] is not None:
        return f"cannot start: {schedule['trouble']['code']}"
    return "" if last is None else f"{last['state']} {last[REQUEST_KINDS[schedule['kind']].key] or ''}".strip()


@command(
    schedules,
    "list",
    "muster schedules list",
    "muster schedules list --tenant acme --json",
    show=_show_list,
)
def list_(*, tenant: options.OnlyTenant = None) -> Sequence[Record]:
    """List schedules with their next and last run."""
    with remote.service() as found:
        return [one for name in remote.meant_tenants(found, tenant) for one in found.schedules(name)]


@command(
    schedules,
    "show",
    "muster schedules show nightly",
    "muster schedules show nightly --json",
    show=_show_schedule,
)
def show(*, name: Name, tenant: options.MeantTenant = None) -> Record:
    """Show a schedule: its request, next run and last run."""
    with remote.service() as found:
        return found.schedule(remote.resolve_tenant(found, tenant), name)


def _change(tenant: str | None, name: str, *, enabled: bool) -> Record:
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        _, etag = found.schedule_with_etag(meant, name)
        return found.change_schedule(meant, name, enabled=enabled, etag=etag)[0]


@command(schedules, "pause", "muster schedules pause nightly", show=show_changed)
def pause(*, name: Name, tenant: options.MeantTenant = None) -> Record:
    """Pause a schedule until it is resumed.

    A started run continues.
    """
    return _change(tenant, name, enabled=False)


@command(schedules, "resume", "muster schedules resume nightly", show=show_changed)
def resume(*, name: Name, tenant: options.MeantTenant = None) -> Record:
    """Resume a paused schedule at its next due time.

    Missed runs are not made up.
    """
    return _change(tenant, name, enabled=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of a schedule that was started manually: {job or export, state}."""

    schedule: str
    record: Record

    def as_record(self) -> Record:
        """Plain JSON data."""
        return self.record


def _show_run(run: Run) -> None:
    print_line(id_of(run.record))
    print_note(f"Submitted. `muster schedules show {run.schedule}` shows how it ends.")


@command(schedules, "run", "muster schedules run nightly", show=_show_run)
def run(*, name: Name, tenant: options.MeantTenant = None) -> Run:
    """Start a run now, even if the schedule is paused.

    Due runs are not affected. Placeholders are filled as if it were due now.
    """
    with remote.service() as found:
        started = found.run_schedule(remote.resolve_tenant(found, tenant), name)
    return Run(schedule=name, record=started)


@command(schedules, "delete", "muster schedules delete nightly", show=show_done)
def delete(*, name: Name, tenant: options.MeantTenant = None) -> Done:
    """Delete a schedule.

    Everything that its runs have created stays, and a started run continues.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        _, etag = found.schedule_with_etag(meant, name)
        found.delete_schedule(meant, name, etag=etag)
    return Done(record={"deleted": name, "tenant": meant}, text=f"schedule {name} is deleted")
