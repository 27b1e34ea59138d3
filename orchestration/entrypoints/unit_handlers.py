"""Lambda handlers of imports that are read side by side; for errors see `orchestration.entrypoints.handlers`."""

from typing import TYPE_CHECKING

from connectors.sources.fork_server import PARSERS
from orchestration.entrypoints.handlers import Event, View, errors_by_name, owned, process_context
from schemas.ids import JobId

if TYPE_CHECKING:
    from orchestration.catalog.records import Job


def _job(event: Event) -> "Job":
    return process_context().jobs.get(JobId(str(event["job_id"])))


@errors_by_name
@owned
def plan_units(event: Event, _: object) -> View:
    """{job_id, execution} -> view, with `units`: where the workflow reads them."""
    from orchestration.kinds.units.plan import plan_units as step

    context = process_context()
    return step(_job(event), records=context.import_records, objects=context.objects, limits=context.parse_limits)


@errors_by_name
@owned
def verify_unit(event: Event, _: object) -> View:
    """{job_id, execution, number} -> {}; what was seen, or the error, is stored."""
    PARSERS.prepare()
    from orchestration.kinds.units.verify import verify_one as step

    context = process_context()
    step(
        _job(event),
        int(event["number"]),
        records=context.import_records,
        objects=context.objects,
        limits=context.parse_limits,
    )
    return {}


@errors_by_name
@owned
def fail_unit(event: Event, _: object) -> View:
    """{job_id, execution, number, failure: {Error, Cause}} -> {}."""
    from orchestration.kinds.units.verify import give_up as step

    context = process_context()
    step(
        _job(event),
        int(event["number"]),
        event["failure"],
        records=context.import_records,
        objects=context.objects,
    )
    return {}


@errors_by_name
@owned
def gather_evidence(event: Event, _: object) -> View:
    """{job_id, execution} -> view; raises the first fault of the units, in order."""
    from orchestration.kinds.units.verify import gather_evidence as step

    context = process_context()
    return step(_job(event), records=context.import_records, objects=context.objects)
