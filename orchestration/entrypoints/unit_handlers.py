"""Lambda handlers of stages that run side by side; for errors see `orchestration.entrypoints.handlers`."""

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
    """{job_id, execution, number, attempt? | plan?, failure: {Error, Cause}} -> {}.

    With an attempt, it was being sent; with a plan, it is a group of partitions.
    """
    context, number, failure = process_context(), int(event["number"]), event["failure"]
    records, objects = context.import_records, context.objects
    if "plan" in event:
        from orchestration.kinds import parts

        parts.give_up(_job(event), number, str(event["plan"]), failure, records=records, objects=objects)
    elif "attempt" in event:
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


@errors_by_name
@owned
def plan_parts(event: Event, _: object) -> View:
    """{job_id, execution} -> view, with `plan`, and `units`: where the workflow reads the groups of partitions."""
    from orchestration.kinds.parts import plan_parts as step

    context = process_context()
    return step(_job(event), records=context.import_records, versions=context.versions, objects=context.objects)


@errors_by_name
@owned
def build_part(event: Event, _: object) -> View:
    """{job_id, execution, number, plan} -> {}; what was built, or the error, is stored."""
    _parts_unit(event, "build-unit")
    return {}


@errors_by_name
@owned
def check_part(event: Event, _: object) -> View:
    """{job_id, execution, number, plan} -> {}; what was read is stored."""
    _parts_unit(event, "check-unit")
    return {}


def _parts_unit(event: Event, command: str) -> None:
    from orchestration.entrypoints.tasks import run_parts

    run_parts(process_context(), command, _job(event), int(event["number"]), str(event["plan"]))


@errors_by_name
@owned
def gather_parts(event: Event, _: object) -> View:
    """{job_id, execution, plan} -> view; raises the first fault of the groups, in order."""
    from orchestration.kinds.parts import gather_parts as step

    context = process_context()
    return step(
        _job(event),
        str(event["plan"]),
        records=context.import_records,
        versions=context.versions,
        objects=context.objects,
    )
