"""Follows a job of any kind on the screen until it has ended, then prints how it ended."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import typer

from muster.records import Record
from orchestration.cli import remote
from orchestration.cli.commands import Answer
from orchestration.cli.console import print_line, print_note
from orchestration.cli.exits import ExitCode, code_for_job
from orchestration.cli.formatting import counted, number, safe, size
from orchestration.cli.job_facts import ended, without_progress
from orchestration.cli.receipts import print_receipt
from orchestration.cli.rendering import export_line, job_line, job_lines
from orchestration.cli.screen import Screen, screen
from orchestration.platform.deferred import deferred
from schemas.ids import DEFAULT_TENANT, JobId
from schemas.job_kinds import JobKey, key_of

if TYPE_CHECKING:
    from muster.client import Client

with deferred(__name__):
    from muster import following as client_following

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A job that was started, possibly as a `retry_of` an earlier one."""

    job_id: JobId
    word: JobKey = "job"
    retry_of: str | None = None

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        again = {} if self.retry_of is None else {"retry_of": self.retry_of}
        return {self.word: self.job_id, "state": "SUBMITTED", **again}


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A followed job: its end, unless the wait was limited, with its receipt if it has one."""

    job: Record
    receipt: Record | None = None

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        found = without_progress(self.job)
        return found if key_of(self.job) == "export" else {**found, "receipt": self.receipt}


def with_receipt(found: "Client", job: Record) -> Followed:
    """A job with its receipt if it has one."""
    has_one = key_of(job) == "job" and job["state"] == "READY"
    return Followed(job=job, receipt=found.receipt(job["tenant"], job["job"]) if has_one else None)


def submitted(
    job_id: JobId,
    *,
    wait: bool,
    timeout_s: float | None,
    word: JobKey = "job",
    retry_of: str | None = None,
) -> Answer[Submitted | Followed]:
    """The answer of a command that has started a job: its id, or with `wait` its end."""
    if wait:
        return wait_for(job_id, timeout_s=timeout_s, word=word)
    return Answer(value=Submitted(job_id=job_id, word=word, retry_of=retry_of))


def wait_for(job_id: str, *, timeout_s: float | None = None, word: JobKey = "job") -> Answer[Followed]:
    """Follow a job to its end, or for `timeout_s` at most. `word`: what to call it until it is registered.

    Ctrl-C and `timeout_s` end the wait, not the job. Raises `typer.Exit` if there is nothing to show, and as
    `client.following.follow` does.
    """
    last = None
    with remote.service() as found:
        try:
            with screen() as display:
                for last in _shown(found, job_id, display, timeout_s, word):
                    word = key_of(last)
        except KeyboardInterrupt:
            print_note(
                f"The {word} continues; `muster jobs wait {job_id}` waits again, `muster jobs cancel {job_id}` "
                "cancels it."
            )
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        if last is None or not ended(last):
            print_note(
                f"Not finished after {timeout_s:g} s; the {word} continues. `muster jobs wait {job_id}` waits again."
            )
        if last is None:
            raise typer.Exit(ExitCode.NOT_FINISHED)
        return Answer(value=with_receipt(found, last), code=code_for_job(last))


def _shown(found: "Client", job_id: str, display: Screen, timeout_s: float | None, word: JobKey) -> Iterator[Record]:
    """The job, each time shown on the screen, until it has ended or `timeout_s` has passed."""
    began = time.monotonic()
    registered = duplicate_noted = False

    def sleep(seconds: float) -> None:
        if not registered:
            display.show([f"{word} {job_id}  waiting for the workflow"], f"{word} {job_id}: waiting for the workflow")
        if timeout_s is not None and time.monotonic() - began >= timeout_s:
            raise TimeoutError
        time.sleep(seconds)

    try:
        for job in client_following.follow(found, job_id, sleep=sleep):
            registered = True
            if key_of(job) == "export":
                line = export_line(job, time.monotonic() - began)
                display.show([line], line)
            else:
                if job.get("duplicate_of") is not None and not duplicate_noted:
                    duplicate_noted = True
                    print_note(duplicate_text(job_id, job))
                display.show(job_lines(job), job_line(job))
            yield job
    except TimeoutError:
        pass


def duplicate_text(job_id: str, original: Record) -> str:
    """The message for a job that was not run because it is a duplicate."""
    return (
        f"DUPLICATE: job {job_id} was not run. It is a duplicate of {original['job']}, which is {original['state']}: "
        "the same file for the same target with the same options. Use --again to import it once more."
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
    job = found.job
    if not ended(job):
        return
    if key_of(job) == "export":
        _show_export_end(job)
        return
    if job["state"] == "READY" and found.receipt is not None:
        print_receipt(found.receipt)
        return
    print_line(f"job {job['job']} is {job['state']}")
    if (error := job["error"]) is not None:
        print_line(f"{error['code']}: {safe(error['message'])}")
        if error["detail"].get("rejects"):
            print_line(f"`muster rejects {job['job']}` shows the rejects.")
        if (remedy := settings_remedy(job)) is not None:
            print_line(remedy)
    elif job["state"] == "SUPERSEDED" and (outcome := job["outcome"]) is not None:
        print_line(f"version {outcome['version']} of the newer import {outcome['superseded_by']} is published")


def settings_remedy(job: Record) -> str | None:
    """How other settings may help a job that failed on its file. None if they cannot."""
    error = job["error"]
    if error is None or error["code"] not in FIXABLE_BY_SETTINGS or job["kind"] == "snapshot":
        return None
    name = safe(job["audience"]) + ("" if job["tenant"] == DEFAULT_TENANT else f" -t {safe(job['tenant'])}")
    return (
        f"If the file is right, change how it is read with `muster audiences configure {name}` (`create` if it does "
        f"not exist yet), then `muster jobs retry {job['job']} --with-audience-settings`."
    )


def _show_export_end(export: Record) -> None:
    outcome = export["outcome"]
    if outcome is None:
        print_line(f"export {export['export']} is {export['state']}")
        if (error := export["error"]) is not None:
            print_line(f"{error['code']}: {safe(error['message'])}")
        return
    where = (
        f"{counted(outcome['files'], 'file')}, {size(outcome['bytes'])}, in {outcome['manifest']}"
        if outcome["manifest"]
        else f"{counted(outcome['chunks'], 'chunk')}, {size(outcome['bytes'])}, in topic {outcome['topic']}"
    )
    what = f"version {outcome['version']} of {export['tenant']}/{export['audience']}"
    print_line(f"{what}: {counted(outcome['rows'], 'row')} in {where}")
    if outcome.get("formulas_found"):
        print_note(f"{number(outcome['formulas_found'])} texts begin like spreadsheet formulas (--formulas).")
    if "rows_filtered" in outcome:
        print_skipped(outcome["rows_filtered"], outcome["rows_suppressed"])


def print_skipped(filtered: int, suppressed: int) -> None:
    """Print how many rows were read and not exported, if any."""
    if filtered or suppressed:
        print_note(
            f"Left out: {counted(filtered, 'row')} that did not match, {number(suppressed)} of suppressed users."
        )
