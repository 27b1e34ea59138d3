"""Entry point of a container task.

`verify|import|build|publish JOB EXECUTION`, or `export EXPORT EXECUTION GROUP`, after the word `task`, which the image
consumes (`orchestration.entrypoints.container`).

Exit code 0: the step is done, or its user or fatal error is recorded, for ReadOutcome or FinishExport. 1: a retry may
help. 64: unknown command. A task returns only its exit code to Step Functions, so errors that must not be retried go
through the catalog.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from connectors.loading import hide_pandas, loading
from connectors.sources.fork_server import PARSERS
from orchestration.entrypoints.container import USAGE_EXIT_CODE
from orchestration.platform.ending import end
from orchestration.platform.logs import configure
from orchestration.platform.settings import Settings
from orchestration.platform.tracing import start_tracing
from schemas import tracing
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import JobId, job_id
from schemas.log_ids import bind, execution_name

if TYPE_CHECKING:
    from orchestration.catalog.records import Job
    from orchestration.composition.context import Context
    from orchestration.kinds.kind import Stages
    from orchestration.kinds.records import View

_log = logging.getLogger(__name__)

PARSING: Final = ("verify", "import")
"""The commands that read the file."""
WORDS: Final = {"verify": 3, "import": 3, "build": 3, "publish": 3, "export": 4}
USAGE: Final = "task takes: verify|import|build|publish JOB EXECUTION, or export EXPORT EXECUTION GROUP"


def run(context: "Context", command: str, job: JobId, execution: str) -> int:
    """Run one step of a job and return the exit code. Ignores a job that does not belong to the execution."""
    found = context.jobs.get(job)
    bind(**found.log_ids)
    if found.execution != execution:
        _log.warning("%s of %s: the job does not belong to %s", command, job, execution)
        return 0
    context.jobs.put(job, task_error=None)  # drop the error of an earlier task
    try:
        _stage(context.kind_of(found), command)(found)
    except (UserError, FatalError) as exc:
        _log.error("%s of %s: %s", command, job, exc)  # a traceback of an expected error is of no use
        context.jobs.put(job, task_error=exc.as_record())
    except RetriableError as exc:
        _log.warning("%s of %s may be retried: %s", command, job, exc)
        return 1
    return 0


def export_group(context: "Context", export: JobId, number: int, execution: str) -> int:
    """Write a group of an export and return the exit code."""
    from orchestration.kinds.export.write import write_export_group

    bind(job=export, execution=execution_name(execution))
    try:
        write_export_group(
            export,
            number,
            execution,
            records=context.export_records,
            versions=context.versions,
            s3=context.s3,
            limits=context.duck_limits,
        )
    except RetriableError as exc:
        _log.warning("group %d of export %s may be retried: %s", number, export, exc)
        return 1
    return 0


def _stage(kind: "Stages", command: str) -> "Callable[[Job], View]":
    return {"verify": kind.verify, "import": kind.send, "build": kind.build, "publish": kind.publish}[command]


def main(arguments: Sequence[str]) -> int:
    """Read settings, run the step."""
    if len(arguments) != WORDS.get(arguments[0] if arguments else ""):
        sys.stderr.write(f"{USAGE}, not: {' '.join(arguments) or 'nothing'}\n")
        return USAGE_EXIT_CODE
    command, job, execution, *group = arguments
    if command in PARSING:
        PARSERS.prepare()  # it loads while the settings, the catalog and the job are read
    hide_pandas()
    with loading():
        from orchestration.composition.context import Context
    settings = Settings.load()
    configure(settings)
    start_tracing(settings.otlp_endpoint, "task")
    with tracing.span(f"task {command}"):
        if command == "export":
            return export_group(Context(settings), job_id(job), int(group[0]), execution)
        return run(Context(settings), command, job_id(job), execution)


if __name__ == "__main__":
    end(main(sys.argv[1:]))
