"""Follows a job on the screen until it has ended, and says how it ended."""

import time
from typing import TYPE_CHECKING, Any, Final

from orchestration.cli import exits
from orchestration.cli.console import print_json, print_line, print_pairs, say
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, outside_texts, safe
from orchestration.cli.rendering import column_pairs, job_line, job_lines
from orchestration.cli.screen import Screen, screen
from orchestration.cli.session import SESSION
from schemas.ids import JobId

OF_SETTINGS: Final = frozenset(
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
"""Errors of files that other settings may cure."""

if TYPE_CHECKING:
    from orchestration.catalog.records import Job
    from orchestration.context import Context
    from orchestration.operations.follow import JobView


def wait_for(
    context: "Context",
    job_id: JobId,
    *,
    timeout_s: float | None = None,
    on: Screen | None = None,
) -> ExitCode:
    """Follow a job to its end, print how it ended, and return the exit code.

    Ctrl-C and `timeout_s` end the waiting, not the job.
    """
    last = None
    try:
        with on or screen() as place:
            last = _follow(context, job_id, place, timeout_s)
    except KeyboardInterrupt:
        say(f"The job goes on; `muster jobs wait {job_id}` waits again, `muster jobs cancel {job_id}` cancels it.")
        return ExitCode.INTERRUPTED
    if last is None or not last.final:
        say(f"Not finished after {timeout_s:g} s; the job goes on. `muster jobs wait {job_id}` waits again.")
        if SESSION.json and last is not None:
            print_result(context, last)
        return ExitCode.NOT_FINISHED
    print_result(context, last)
    return exits.of_job(last.job)


def _follow(context: "Context", job_id: JobId, place: Screen, timeout_s: float | None) -> "JobView | None":
    from orchestration.operations.follow import follow
    from orchestration.platform.clock import now_ms

    began = time.monotonic()
    last: JobView | None = None
    told = False
    place.show([f"job {job_id}  waiting for the workflow"], f"job {job_id}: waiting for the workflow")

    def sleep(seconds: float) -> None:
        if timeout_s is not None and time.monotonic() - began >= timeout_s:
            raise TimeoutError
        time.sleep(seconds)

    try:
        for last in follow(context, job_id, now_ms=now_ms, sleep=sleep):
            if last.duplicate_of is not None and not told:
                told = True
                say(duplicate_text(job_id, last.job))
            place.show(job_lines(last), job_line(last))
    except TimeoutError:
        pass
    return last


def duplicate_text(job_id: JobId, twin: "Job") -> str:
    """What is said about a job that was not run."""
    return (
        f"This object was imported before with the same options: job {job_id} is a duplicate of {twin.job_id}, "
        f"which is {twin.state}. Use --again to import it once more."
    )


def result_record(context: "Context", view: "JobView") -> dict[str, Any]:
    """How a job stands, as JSON: the job, its receipt when it has one, and whose twin it is."""
    from orchestration.operations.job_records import job_record

    receipt = context.jobs.receipt(view.job.job_id)
    return {
        **job_record(view.job),
        "duplicate_of": view.duplicate_of,
        "receipt": None if receipt is None else dict(receipt),
    }


def print_result(context: "Context", view: "JobView") -> None:
    """How a job ended: its receipt, or why there is none."""
    if SESSION.json:
        print_json(result_record(context, view))
        return
    job = view.job
    receipt = context.jobs.receipt(job.job_id)
    if job.state == "READY" and receipt is not None:
        print_receipt(dict(receipt))
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
    """How settings may help a job that failed by what it was told of its file; none where they do not."""
    from orchestration.operations.submit import DEFAULT_TENANT

    if job.error is None or job.error.code not in OF_SETTINGS or job.segment is not None:
        return None
    name = safe(job.audience) if job.tenant == DEFAULT_TENANT else f"{safe(job.audience)} -t {safe(job.tenant)}"
    return (
        f"If the file is right, change how it is read with `muster audiences configure {name}` (`create` where it is "
        f"not there yet), then `muster jobs retry {job.job_id} --with-audience-settings`."
    )


def print_receipt(receipt: dict[str, Any]) -> None:
    """A receipt for people: what was in the file, what became of it, what is published."""
    by_code = ", ".join(f"{code} {number(count)}" for code, count in receipt["rejected_by_code"].items())
    rows, accepted, rejected = (number(receipt[name]) for name in ("rows", "accepted", "rejected"))
    if "snapshot" in receipt:
        _print_snapshot(receipt)
        return
    of_file: list[tuple[str, object]] = [
        ("source", f"s3://{receipt['source']['bucket']}/{receipt['source']['key']}"),
        ("rows", f"{rows} = {accepted} accepted + {rejected} rejected"),
        ("rejected", by_code or "none"),
    ]
    finished = ("finished", f"{receipt['finished_at']}, started {receipt['started_at']}")
    if "stored" in receipt:
        print_pairs(
            [
                (receipt["kind"], f"of {receipt['tenant']}, {receipt['state']}"),
                ("job", f"{receipt['job']}, attempt {receipt['attempt']}"),
                *of_file,
                ("accepted", f"{number(receipt['stored'])} stored + {number(receipt['duplicates'])} duplicates"),
                finished,
            ]
        )
        return
    pairs: list[tuple[str, object]] = [
        ("audience", f"{receipt['tenant']}/{receipt['audience']} version {receipt['version']}, {receipt['state']}"),
        ("job", f"{receipt['job']}, attempt {receipt['attempt']}, {receipt['mode']}"),
        *of_file,
        ("accepted", f"{number(receipt['distinct'])} distinct + {number(receipt['duplicates'])} duplicates"),
    ]
    if (counts := receipt.get("membership")) is not None:
        shown = [f"{name} {number(counts[name])}" for name in ("base", "added", "removed", "kept")]
        pairs.append(("change", ", ".join(shown)))
    if "columns" in receipt:  # not in receipts of earlier releases
        pairs += column_pairs(receipt["columns"], receipt["column_changes"])
    pairs += [
        ("members", number(receipt["members"])),
        ("digest", receipt["digest"]),
        ("snapshot", receipt["snapshot_id"]),
        finished,
    ]
    print_pairs(pairs)


def _print_snapshot(receipt: dict[str, Any]) -> None:
    rule = receipt["snapshot"]
    print_pairs(
        [
            ("audience", f"{receipt['tenant']}/{receipt['audience']} version {receipt['version']}, {receipt['state']}"),
            ("job", f"{receipt['job']}, attempt {receipt['attempt']}, {receipt['kind']}"),
            ("segment", f"{rule['segment']}, rule version {rule['rule_version']}"),
            ("as of", rule["as_of"]),
            ("members", number(receipt["members"])),
            *(("outside", text) for text in outside_texts(receipt.get("outside", ()))),
            ("digest", receipt["digest"]),
            ("snapshot", receipt["snapshot_id"]),
            ("finished", f"{receipt['finished_at']}, started {receipt['started_at']}"),
        ]
    )
