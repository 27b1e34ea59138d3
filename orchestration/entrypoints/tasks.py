"""Entry point of a container task.

`verify|import|build|publish JOB EXECUTION`, `verify-unit JOB EXECUTION UNIT`,
`import-unit JOB EXECUTION UNIT ATTEMPT`, `build-unit|check-unit JOB EXECUTION GROUP PLAN`, or
`export EXPORT EXECUTION GROUP`, after the word `task`, which the image consumes
(`orchestration.entrypoints.container`).

Exit code 0: the step is done, or its user or fatal error is recorded, for ReadOutcome or FinishExport. 1: a retry may
help. 64: unknown command. A task returns only its exit code to Step Functions, so errors that must not be retried go
through the catalog, and outages are waited for here: another task would need its capacity and its start once more.
"""

import logging
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from connectors.loading import hide_pandas, loading
from connectors.sources.fork_server import PARSERS
from orchestration.entrypoints.container import USAGE_EXIT_CODE
from orchestration.platform.ending import end
from orchestration.platform.logs import configure
from orchestration.platform.settings import Settings
from orchestration.platform.tracing import start_tracing
from orchestration.workflow.stages import UNAVAILABLE
from schemas import tracing
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import Attempt, JobId, job_id
from schemas.log_ids import bind, execution_name

if TYPE_CHECKING:
    from orchestration.catalog.records import Job
    from orchestration.composition.context import Context
    from orchestration.kinds.kind import Stages
    from orchestration.kinds.records import View

_log = logging.getLogger(__name__)

PARSING: Final = ("verify", "verify-unit", "import", "import-unit")
"""The commands that read the file."""
PARTS: Final = ("build-unit", "check-unit")
"""The commands that take a group of the partitions of a version."""
WORDS: Final = {
    "verify": 3,
    "import": 3,
    "build": 3,
    "publish": 3,
    "verify-unit": 4,
    "import-unit": 5,
    "build-unit": 5,
    "check-unit": 5,
    "export": 4,
}
USAGE: Final = (
    "task takes: verify|import|build|publish JOB EXECUTION, verify-unit JOB EXECUTION UNIT, "
    "import-unit JOB EXECUTION UNIT ATTEMPT, build-unit|check-unit JOB EXECUTION GROUP PLAN, or "
    "export EXPORT EXECUTION GROUP"
)


def run(context: "Context", command: str, job: JobId, execution: str) -> None:
    """Run one step of a job. Ignores a job that does not belong to the execution. Raises `RetriableError`."""
    found = context.jobs.get(job)
    bind(**found.log_ids)
    if found.execution != execution:
        _log.warning("%s of %s: the job does not belong to %s", command, job, execution)
        return
    context.jobs.put(job, task_error=None)  # drop the error of an earlier task
    try:
        _stage(context.kind_of(found), command)(found)
    except (UserError, FatalError) as exc:
        _log.error("%s of %s: %s", command, job, exc)  # a traceback of an expected error is of no use
        context.jobs.put(job, task_error=exc.as_record())


def run_unit(context: "Context", command: str, job: JobId, number: int, execution: str, *of: str) -> None:
    """Run one step of a unit of a job. Ignores a job that does not belong to the execution. Raises `RetriableError`."""
    found = context.jobs.get(job)
    bind(**found.log_ids)
    if found.execution != execution:
        _log.warning("%s %d of %s: the job does not belong to %s", command, number, job, execution)
        return
    records, objects, limits = context.import_records, context.objects, context.parse_limits
    if command == "verify-unit":
        from orchestration.kinds.units.verify import verify_one

        verify_one(found, number, records=records, objects=objects, limits=limits)
    elif command in PARTS:
        run_parts(context, command, found, number, of[0])
    else:
        from orchestration.kinds.units.send import send_one

        send_one(found, number, Attempt(int(of[0])), records=records, objects=objects, limits=limits)


def run_parts(context: "Context", command: str, found: "Job", number: int, plan: str) -> None:
    """Build or read a group of partitions of a job. Raises `RetriableError`."""
    from orchestration.kinds.parts import build_group, check_group

    records, objects, versions = context.import_records, context.objects, context.versions
    if command == "build-unit":
        build_group(
            found,
            number,
            plan,
            records=records,
            versions=versions,
            objects=objects,
            s3=context.s3,
            limits=context.duck_limits,
        )
    else:
        check_group(found, number, plan, records=records, versions=versions, objects=objects)


def export_group(context: "Context", export: JobId, number: int, execution: str) -> None:
    """Write a group of an export. Raises `RetriableError`."""
    from orchestration.kinds.export.write import write_export_group

    bind(job=export, execution=execution_name(execution))
    write_export_group(
        export,
        number,
        execution,
        records=context.export_records,
        versions=context.versions,
        s3=context.s3,
        limits=context.duck_limits,
    )


def outlast(step: Callable[[], None], *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Run a step again as long as a server does not answer or has no room, and wait in between as a state would.

    Raises its last error.
    """
    for delay_s in UNAVAILABLE.delays_s():
        try:
            return step()
        except RetriableError as exc:
            if not exc.outage:
                raise
            wait_s = random.uniform(0, delay_s)  # noqa: S311  # jitter
            _log.warning("%s; retrying in %.0f s", exc, wait_s)
        sleep(wait_s)
    return step()


def _stage(kind: "Stages", command: str) -> "Callable[[Job], View]":
    return {"verify": kind.verify, "import": kind.send, "build": kind.build, "publish": kind.publish}[command]


def main(arguments: Sequence[str]) -> int:
    """Read settings, run the step."""
    if len(arguments) != WORDS.get(arguments[0] if arguments else ""):
        sys.stderr.write(f"{USAGE}, not: {' '.join(arguments) or 'nothing'}\n")
        return USAGE_EXIT_CODE
    command, job, execution, *part = arguments
    if command in PARSING:
        PARSERS.prepare()  # it loads while the settings, the catalog and the job are read
    hide_pandas()
    with loading():
        from orchestration.composition.context import Context
    settings = Settings.load()
    configure(settings)
    start_tracing(settings.otlp_endpoint, "task")
    context = Context(settings)
    try:
        with tracing.span(f"task {command}"):
            if command == "export":
                outlast(lambda: export_group(context, job_id(job), int(part[0]), execution))
            elif part:
                outlast(lambda: run_unit(context, command, job_id(job), int(part[0]), execution, *part[1:]))
            else:
                outlast(lambda: run(context, command, job_id(job), execution))
    except RetriableError as exc:
        _log.warning("%s of %s may be retried: %s", command, job, exc)
        return 1
    return 0


if __name__ == "__main__":
    end(main(sys.argv[1:]))
