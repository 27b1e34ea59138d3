"""Follows a job of any kind on the screen until it has ended, then prints how it ended."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import typer

from orchestration.cli.commands import Answer
from orchestration.cli.console import print_line, print_note
from orchestration.cli.exits import ExitCode, code_for_job
from orchestration.cli.formatting import number, safe, size
from orchestration.cli.receipts import print_receipt
from orchestration.cli.rendering import export_line, job_line, job_lines
from orchestration.cli.screen import Screen, screen
from orchestration.cli.session import SESSION
from orchestration.operations.follow import ExportView, JobView
from orchestration.operations.job_records import export_record, job_record
from orchestration.platform.clock import now_ms
from orchestration.platform.deferred import deferred
from schemas.ids import DEFAULT_TENANT, JobId

if TYPE_CHECKING:
    from orchestration.catalog.records import Job
    from orchestration.context import Context

with deferred(__name__):
    from orchestration.operations import wiring

FIXABLE_BY_SETTINGS: Final = frozenset(
    {
        "AUDIENCE_WOULD_SHRINK",
        "BAD_COLUMN",
        "BAD_COLUMN_TYPE",
        "BAD_TIMEZONE",
        "DUPLICATE_COLUMN",
        "EMPTY_FILE",
        "MISSING_COLUMN",
        "NO_TIMEZONE",
        "TOO_MANY_REJECTS",
        "UNKNOWN_FORMAT",
    }
)
"""Errors in files that other settings may fix."""

Word = Literal["job", "export"]
"""The word for a job, also the key of its id in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A job that was started, possibly as a `retry_of` an earlier one."""

    job_id: JobId
    word: Word = "job"
    retry_of: str | None = None

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        again = {} if self.retry_of is None else {"retry_of": self.retry_of}
        return {self.word: self.job_id, "state": "SUBMITTED", **again}


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """State of a followed job: its end, unless the wait was limited, with its receipt if it has one."""

    view: JobView | ExportView
    receipt: Mapping[str, Any] | None = None

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        if isinstance(self.view, ExportView):
            return export_record(self.view.export)
        return {
            **job_record(self.view.job),
            "duplicate_of": self.view.duplicate_of,
            "receipt": None if self.receipt is None else dict(self.receipt),
        }


def followed(context: "Context", view: JobView | ExportView) -> Followed:
    """The present state of a job, with its receipt if it has one."""
    return Followed(view=view, receipt=context.jobs.receipt(view.job.job_id) if isinstance(view, JobView) else None)


def submitted(
    context: "Context",
    job_id: JobId,
    *,
    wait: bool,
    timeout_s: float | None,
    word: Word = "job",
    retry_of: str | None = None,
) -> Answer[Submitted | Followed]:
    """The answer of a command that has started a job: its id, or with `wait` its end."""
    SESSION.job = job_id
    if wait:
        return wait_for(context, job_id, timeout_s=timeout_s, word=word)
    return Answer(value=Submitted(job_id=job_id, word=word, retry_of=retry_of))


def wait_for(
    context: "Context",
    job_id: JobId,
    *,
    timeout_s: float | None = None,
    word: Word = "job",
) -> Answer[Followed]:
    """Follow a job to its end, or for `timeout_s` at most. `word`: what to call it until it is registered.

    Ctrl-C and `timeout_s` end the wait, not the job. Raises `typer.Exit` if there is nothing to show, and as
    `JobProgress.follow` does.
    """
    last = None
    try:
        with screen() as display:
            display.show([f"{word} {job_id}  waiting for the workflow"], f"{word} {job_id}: waiting for the workflow")
            for last in _views(context, job_id, display, timeout_s):
                word = "export" if isinstance(last, ExportView) else "job"
    except KeyboardInterrupt:
        print_note(
            f"The {word} continues; `muster jobs wait {job_id}` waits again, `muster jobs cancel {job_id}` cancels it."
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if last is None or not last.final:
        print_note(
            f"Not finished after {timeout_s:g} s; the {word} continues. `muster jobs wait {job_id}` waits again."
        )
        if last is None:
            raise typer.Exit(ExitCode.NOT_FINISHED)
        return Answer(value=followed(context, last), code=ExitCode.NOT_FINISHED)
    return Answer(
        value=followed(context, last), code=code_for_job(last.job if isinstance(last, JobView) else last.export)
    )


def _views(
    context: "Context", job_id: JobId, display: Screen, timeout_s: float | None
) -> Iterator[JobView | ExportView]:
    """Views of the job, each shown on the screen, until it has ended or `timeout_s` has passed."""
    began = time.monotonic()
    duplicate_noted = False

    def sleep(seconds: float) -> None:
        if timeout_s is not None and time.monotonic() - began >= timeout_s:
            raise TimeoutError
        time.sleep(seconds)

    try:
        for view in wiring.job_progress(context).follow(job_id, now_ms=now_ms, sleep=sleep):
            if isinstance(view, ExportView):
                line = export_line(view, time.monotonic() - began)
                display.show([line], line)
            else:
                if view.duplicate_of is not None and not duplicate_noted:
                    duplicate_noted = True
                    print_note(duplicate_text(job_id, view.job))
                display.show(job_lines(view), job_line(view))
            yield view
    except TimeoutError:
        pass


def duplicate_text(job_id: JobId, original: "Job") -> str:
    """The message for a job that was not run because it is a duplicate."""
    return (
        f"This object was already imported with the same options: job {job_id} is a duplicate of {original.job_id}, "
        f"which is {original.state}. Use --again to import it once more."
    )


def show_started(value: Submitted | Followed) -> None:
    """Print the id of a started job, or how it ended."""
    if isinstance(value, Followed):
        show_end(value)
        return
    print_line(value.job_id)
    print_note(f"Submitted. `muster jobs wait {value.job_id}` follows the {value.word}.")


def show_end(found: Followed) -> None:
    """Print how a job ended; nothing if it is still running."""
    if not found.view.final:
        return
    if isinstance(found.view, ExportView):
        _show_export_end(found.view)
        return
    job = found.view.job
    if job.state == "READY" and found.receipt is not None:
        print_receipt(dict(found.receipt))
        return
    print_line(f"job {job.job_id} is {job.state}")
    if job.error is not None:
        print_line(f"{job.error.code}: {safe(job.error.message)}")
        if job.error.detail.get("rejects"):
            print_line(f"`muster rejects {job.job_id}` shows the rejects.")
        if (remedy := settings_remedy(job)) is not None:
            print_line(remedy)
    elif job.state == "SUPERSEDED" and job.outcome is not None:
        print_line(f"version {job.outcome['version']} of the newer import {job.outcome['superseded_by']} is published")


def settings_remedy(job: "Job") -> str | None:
    """How other settings may help a job that failed on its file. None if they cannot."""
    if job.error is None or job.error.code not in FIXABLE_BY_SETTINGS or job.segment is not None:
        return None
    name = safe(job.audience) if job.tenant == DEFAULT_TENANT else f"{safe(job.audience)} -t {safe(job.tenant)}"
    return (
        f"If the file is right, change how it is read with `muster audiences configure {name}` (`create` if it does "
        f"not exist yet), then `muster jobs retry {job.job_id} --with-audience-settings`."
    )


def _show_export_end(view: ExportView) -> None:
    export = view.export
    if export.outcome is None:
        print_line(f"export {export.job_id} is {export.state}")
        if export.error is not None:
            print_line(f"{export.error.code}: {safe(export.error.message)}")
        return
    outcome = export.outcome
    where = (
        f"{outcome['files']} files, {size(outcome['bytes'])}, in {outcome['manifest']}"
        if outcome["manifest"]
        else f"{number(outcome['chunks'])} chunks, {size(outcome['bytes'])}, in topic {outcome['topic']}"
    )
    what = f"version {outcome['version']} of {export.tenant}/{export.audience}"
    print_line(f"{what}: {number(outcome['rows'])} rows in {where}")
    if outcome.get("formulas_found"):
        print_note(f"{number(outcome['formulas_found'])} texts begin like spreadsheet formulas (--formulas).")
    if "rows_filtered" in outcome:
        print_skipped(outcome["rows_filtered"], outcome["rows_suppressed"])


def print_skipped(filtered: int, suppressed: int) -> None:
    """Print how many rows were read and not exported, if any."""
    if filtered or suppressed:
        print_note(f"Left out: {number(filtered)} rows that did not match, {number(suppressed)} of suppressed users.")
