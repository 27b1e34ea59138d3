"""Schedules as text."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from orchestration.cli.console import print_json, print_line, print_pairs
from orchestration.cli.formatting import clock_time, safe
from orchestration.cli.session import SESSION

if TYPE_CHECKING:
    from orchestration.catalog.schedules import Schedule
    from orchestration.context import Context

MADE: Final = {"import": "job", "export": "export", "snapshot": "job"}
"""What a run of each kind becomes."""


def print_made(context: "Context", schedule: "Schedule") -> None:
    """A schedule after a change of it."""
    from orchestration.operations.schedules import schedule_record

    if SESSION.json:
        print_json(schedule_record(context.jobs, context.exports, schedule))
    else:
        print_line(
            f"schedule {schedule.name}: {schedule.expression} in {schedule.timezone}, next due {next_due(schedule)}"
        )


def print_schedule(schedule: "Schedule", record: Mapping[str, Any]) -> None:
    """Everything about a schedule."""
    if SESSION.json:
        print_json(record)
        return
    last = record["last"]
    pairs: list[tuple[str, object]] = [
        ("schedule", f"{schedule.tenant}/{schedule.name}, {repeated(schedule)}"),
        ("when", f"{schedule.expression} in {schedule.timezone}"),
        ("next due", next_due(schedule)),
        ("last run", "none" if last is None else f"due {moment(schedule.last_due_ms)}: {last_run(record)}"),
    ]
    if last is not None and last["error"] is not None:
        pairs.append(("it says", f"{last['error']['code']}: {last['error']['message']}"))
    if schedule.trouble is not None:
        pairs.append(("cannot start", f"{schedule.trouble['code']}: {schedule.trouble['message']}"))
    pairs += [(key, safe(value)) for key, value in schedule.request.items() if value not in ({}, False, None)]
    print_pairs(pairs)


def repeated(schedule: "Schedule") -> str:
    """What is done again and again: import, import of events, ..."""
    from schemas.import_targets import kind_of_target

    rows = kind_of_target(str(schedule.request["audience"]))
    return schedule.kind if rows == "audience" else f"{schedule.kind} of {rows}"


def moment(at_ms: int | None) -> str:
    """A time; empty where there is none."""
    return "" if at_ms is None else f"{clock_time(at_ms)} UTC"


def next_due(schedule: "Schedule") -> str:
    """When it is due next."""
    if not schedule.enabled:
        return "paused"
    return moment(schedule.next_due_ms) or "never again"


def last_run(record: Mapping[str, Any]) -> str:
    """What became of the last run, or why the one that is due does not start."""
    last = record["last"]
    if record["trouble"] is not None:
        return f"cannot start: {record['trouble']['code']}"
    return "" if last is None else f"{last['state']} {last[MADE[record['kind']]] or ''}".strip()
