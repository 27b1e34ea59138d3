"""`muster schedules`: recurring imports, exports and snapshots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestration.cli import options
from orchestration.cli.commands import Done, Group, command, show_done
from orchestration.cli.console import print_line, print_note, print_pairs, print_table
from orchestration.cli.formatting import clock_time, safe
from orchestration.cli.session import SESSION, catalog_context, stack_context
from orchestration.platform.clock import now_ms
from orchestration.platform.deferred import deferred
from schemas.ids import tenant_name
from schemas.import_targets import kind_of_target

if TYPE_CHECKING:
    from orchestration.catalog.schedules import Schedule
    from orchestration.context import Context

with deferred(__name__):
    from orchestration.operations import schedule_records
    from orchestration.operations import schedules as operations

TOP = Group("")
schedules = Group("schedules", "muster schedules list", "muster schedules show nightly")
TOP.add_typer(schedules)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.")]
MADE: Final = {"import": "job", "export": "export", "snapshot": "job"}
"""What a run of each kind creates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """A schedule; `record` is its plain JSON data, with the result of its last run."""

    schedule: "Schedule"
    record: Mapping[str, Any]

    def as_record(self) -> Mapping[str, Any]:
        """Plain JSON data."""
        return self.record


def view_of(context: "Context", schedule: "Schedule") -> ScheduleView:
    """A schedule in the form commands show."""
    return ScheduleView(
        schedule=schedule, record=schedule_records.schedule_record(context.jobs, context.exports, schedule)
    )


def show_changed(view: ScheduleView) -> None:
    """Print a schedule that was created or changed."""
    schedule = view.schedule
    print_line(
        f"schedule {schedule.name}: {schedule.expression} in {schedule.timezone}, next due {_next_due(schedule)}"
    )


def _show_list(views: Sequence[ScheduleView]) -> None:
    if not views:
        print_note("There are no schedules.")
        return
    print_table(
        ("TENANT", "NAME", "KIND", "WHEN", "ZONE", "NEXT DUE", "LAST DUE", "LAST RUN"),
        [
            (
                *(s.tenant, s.name, _repeated(s), s.expression, s.timezone),
                *(_next_due(s), _moment(s.last_due_ms), _last_run(view.record)),
            )
            for view in views
            for s in [view.schedule]
        ],
    )


def _show_schedule(view: ScheduleView) -> None:
    schedule, record = view.schedule, view.record
    last = record["last"]
    pairs: list[tuple[str, object]] = [
        ("schedule", f"{schedule.tenant}/{schedule.name}, {_repeated(schedule)}"),
        ("when", f"{schedule.expression} in {schedule.timezone}"),
        ("next due", _next_due(schedule)),
        ("last run", "none" if last is None else f"due {_moment(schedule.last_due_ms)}: {_last_run(record)}"),
    ]
    if last is not None and last["error"] is not None:
        pairs.append(("error", f"{last['error']['code']}: {last['error']['message']}"))
    if schedule.trouble is not None:
        pairs.append(("cannot start", f"{schedule.trouble['code']}: {schedule.trouble['message']}"))
    pairs += [(key, safe(value)) for key, value in schedule.request.items() if value not in ({}, False, None)]
    print_pairs(pairs)


def _repeated(schedule: "Schedule") -> str:
    """What the schedule repeats: import, import of events, ..."""
    rows = kind_of_target(str(schedule.request["audience"]))
    return schedule.kind if rows == "audience" else f"{schedule.kind} of {rows}"


def _moment(at_ms: int | None) -> str:
    return "" if at_ms is None else f"{clock_time(at_ms)} UTC"


def _next_due(schedule: "Schedule") -> str:
    if not schedule.enabled:
        return "paused"
    return _moment(schedule.next_due_ms) or "never again"


def _last_run(record: Mapping[str, Any]) -> str:
    """Result of the last run, or why the due one does not start."""
    last = record["last"]
    if record["trouble"] is not None:
        return f"cannot start: {record['trouble']['code']}"
    return "" if last is None else f"{last['state']} {last[MADE[record['kind']]] or ''}".strip()


@command(
    schedules,
    "list",
    "muster schedules list",
    "muster schedules list --tenant acme --json",
    effect="reads",
    show=_show_list,
    record=lambda views: [view.as_record() for view in views],
)
def list_(*, tenant: options.OnlyTenant = None) -> Sequence[ScheduleView]:
    """List schedules with their next and last run."""
    context = catalog_context()
    found = context.schedules.all(None if tenant is None else tenant_name(tenant))
    return [view_of(context, schedule) for schedule in found]


@command(
    schedules,
    "show",
    "muster schedules show nightly",
    "muster schedules show nightly --json",
    effect="reads",
    show=_show_schedule,
)
def show(*, name: Name, tenant: options.Tenant = "default") -> ScheduleView:
    """Show a schedule: its request, next run and last run."""
    context = catalog_context()
    return view_of(context, operations.find(context.schedules, tenant, name))


@command(schedules, "pause", "muster schedules pause nightly", effect="changes", show=show_changed)
def pause(*, name: Name, tenant: options.Tenant = "default") -> ScheduleView:
    """Pause a schedule until it is resumed.

    A started run continues.
    """
    context = catalog_context()
    return view_of(context, operations.pause(context.schedules, tenant, name))


@command(schedules, "resume", "muster schedules resume nightly", effect="changes", show=show_changed)
def resume(*, name: Name, tenant: options.Tenant = "default") -> ScheduleView:
    """Resume a paused schedule at its next due time.

    Missed runs are not made up for.
    """
    context = catalog_context()
    return view_of(context, operations.resume(context.schedules, tenant, name, now_ms()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of a schedule that was started manually."""

    schedule: str
    kind: str
    run_id: str

    def as_record(self) -> dict[str, str]:
        """Plain JSON data."""
        return {MADE[self.kind]: self.run_id, "state": "SUBMITTED"}


def _show_run(run: Run) -> None:
    print_line(run.run_id)
    print_note(f"Submitted. `muster schedules show {run.schedule}` shows how it ends.")


@command(schedules, "run", "muster schedules run nightly", effect="changes", show=_show_run)
def run(*, name: Name, tenant: options.Tenant = "default") -> Run:
    """Start a run now, even if the schedule is paused.

    Due runs are not affected. Placeholders are filled as if it were due now.
    """
    context = stack_context()
    kind = operations.find(context.schedules, tenant, name).kind
    run_id = SESSION.job = operations.run_now(
        tenant, name, now_ms(), engine=context.engine, schedules=context.schedules
    )
    return Run(schedule=name, kind=kind, run_id=run_id)


@command(schedules, "delete", "muster schedules delete nightly", effect="changes", show=show_done)
def delete(*, name: Name, tenant: options.Tenant = "default") -> Done:
    """Delete a schedule.

    Everything that its runs have created stays, and a started run continues.
    """
    context = catalog_context()
    context.schedules.delete(operations.find(context.schedules, tenant, name).schedule_id)
    return Done(record={"deleted": name, "tenant": tenant}, text=f"schedule {name} is deleted")
