"""Lambda handlers of imports that are read side by side; for errors see `orchestration.entrypoints.handlers`."""

from typing import TYPE_CHECKING

from connectors.sources.fork_server import PARSERS
from orchestration.entrypoints.handlers import Event, View, errors_by_name, owned, process_context
from schemas.ids import Attempt, JobId

if TYPE_CHECKING:
    from orchestration.catalog.records import Job


def _job(event: Event) -> "Job":
    return process_context().jobs.get(JobId(str(event["job_id"])))


def _attempt(event: Event) -> Attempt:
    return Attempt(int(event["attempt"]))


@errors_by_name
@owned
def plan_units(event: Event, _: object) -> View:
    """{job_id, execution} -> view, with `units`: where the workflow reads those of the newest `round`."""
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
    """{job_id, execution, number, attempt?, failure: {Error, Cause}} -> {}. With an attempt, it was being sent."""
    context, number, failure = process_context(), int(event["number"]), event["failure"]
    records, objects = context.import_records, context.objects
    if "attempt" in event:
        from orchestration.kinds.units import send

        send.give_up(_job(event), number, _attempt(event), failure, records=records, objects=objects)
    else:
        from orchestration.kinds.units import verify

        verify.give_up(_job(event), number, failure, records=records, objects=objects)
    return {}


@errors_by_name
@owned
def gather_evidence(event: Event, _: object) -> View:
    """{job_id, execution, round} -> view; raises the first fault of the units, in order."""
    from orchestration.kinds.units.verify import gather_evidence as step

    context = process_context()
    return step(_job(event), int(event["round"]), records=context.import_records, objects=context.objects)


@errors_by_name
@owned
def begin_attempt(event: Event, _: object) -> View:
    """{job_id, execution} -> view, with `attempt`, and `units`: where the workflow reads them."""
    from orchestration.kinds.units.send import begin_attempt as step

    context = process_context()
    return step(_job(event), records=context.import_records, objects=context.objects, archive=lambda: context.archive)


@errors_by_name
@owned
def send_unit(event: Event, _: object) -> View:
    """{job_id, execution, number, attempt} -> {}; what was sent, or the error, is stored."""
    PARSERS.prepare()
    from orchestration.kinds.units.send import send_one as step

    context = process_context()
    step(
        _job(event),
        int(event["number"]),
        _attempt(event),
        records=context.import_records,
        objects=context.objects,
        limits=context.parse_limits,
    )
    return {}


@errors_by_name
@owned
def end_attempt(event: Event, _: object) -> View:
    """{job_id, execution, attempt} -> view; raises the first fault of the units, in order."""
    from orchestration.kinds.units.send import end_attempt as step

    context = process_context()
    return step(
        _job(event),
        _attempt(event),
        records=context.import_records,
        objects=context.objects,
        archive=lambda: context.archive,
    )
