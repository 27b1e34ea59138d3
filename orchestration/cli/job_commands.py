"""`muster jobs`, `muster receipt` and `muster rejects`."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, print_pairs, print_table, say
from orchestration.cli.exits import ExitCode, of_job
from orchestration.cli.formatting import age, clock_time, number, safe
from orchestration.cli.notification_commands import print_notifications
from orchestration.cli.options import command, group
from orchestration.cli.session import SESSION, catalog_context, lake_context, stack_context
from schemas.errors import UserError
from schemas.ids import job_id

if TYPE_CHECKING:
    from orchestration.catalog.records import Job
    from orchestration.operations.follow import JobView

jobs = group("jobs", "Import jobs: list, show, wait for, cancel, retry.", "muster jobs list", "muster jobs show JOB")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(jobs)
    command(app, "receipt", "muster receipt JOB", "muster receipt JOB --json")(receipt)
    command(app, "rejects", "muster rejects JOB", "muster rejects JOB --to rejects.parquet")(rejects)


@command(jobs, "list", "muster jobs list --state FAILED", "muster jobs list --audience vip --limit 5 --json")
def list_(
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="Only of this tenant.")] = None,
    audience: Annotated[str | None, typer.Option("--audience", "-a", metavar="NAME", help="Only of this one.")] = None,
    state: Annotated[list[str] | None, typer.Option("--state", metavar="STATE", help="Only in this state.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = 20,
    json: options.Json = False,
) -> None:
    """List jobs, the newest first."""
    del json
    from typing import cast

    from orchestration.operations.job_records import job_record
    from orchestration.platform.clock import now_ms
    from schemas.messages import JobState
    from segmentation.jobs import STATES

    if unknown := [s for s in state or () if s.upper() not in STATES]:
        raise UserError("UNKNOWN_STATE", f"no job is ever {unknown[0]!r}; states are {', '.join(sorted(STATES))}")
    wanted = [cast("JobState", s.upper()) for s in state or ()]
    found = catalog_context().jobs.search(tenant=tenant, audience=audience, states=wanted, limit=limit)
    if SESSION.json:
        print_json([job_record(job) for job in found])
        return
    if not found:
        say("There are no such jobs.")
        return
    now = now_ms()
    print_table(
        ("JOB", "AGE", "STATE", "AUDIENCE", "RESULT"),
        [(j.job_id, age(j.created_at_ms, now), j.state, f"{j.tenant}/{j.audience}", _result(j)) for j in found],
        right=("AGE",),
    )


@command(jobs, "show", "muster jobs show JOB", "muster jobs show JOB --json")
def show(*, job: options.JobArgument, json: options.Json = False) -> None:
    """Show a job: history, progress, cause."""
    del json
    from orchestration.cli.following import settings_remedy
    from orchestration.cli.rendering import done_word, partition_lines, places_line, stage_line
    from orchestration.operations.follow import look
    from orchestration.operations.job_records import view_record
    from orchestration.operations.notifying import notification_record
    from orchestration.platform.clock import now_ms

    context = catalog_context()
    wanted = job_id(job)
    found = context.jobs.get(wanted)
    view = look(context, wanted, now_ms())
    if view is None:  # cannot be: jobs are never deleted
        raise UserError("UNKNOWN_JOB", f"there is no job {job}")
    history = context.jobs.history(found.job_id)
    told = context.outbox.of(found.job_id)
    if SESSION.json:
        attempts = context.jobs.attempt_reports(found.job_id)
        record = {**view_record(view, history, attempts), "notifications": [notification_record(row) for row in told]}
        print_json({**record, "duplicate_of": view.duplicate_of})
        return
    if view.duplicate_of is not None:
        say(f"Job {wanted} was a duplicate of {found.job_id}, which is shown.")
    pairs: list[tuple[str, object]] = [
        ("job", found.job_id),
        ("audience", f"{found.tenant}/{found.audience}")
        if found.kind == "audience"
        else (found.kind, f"of {found.tenant}"),
        ("state", _state(found.state if found.attempt < 2 else f"{found.state}, attempt {found.attempt}", view)),
        ("mode", found.mode),
        ("source", found.origin),
        ("rows", _rows(found)),
        ("result", _result(found) or "-"),
    ]
    if ran := places_line(view.stages):
        pairs.append(("ran", ran))
    if found.error is not None:
        pairs.append(("error", f"{found.error.code}: {found.error.message}"))
    if (remedy := settings_remedy(found)) is not None:
        pairs.append(("settings", remedy))
    if found.retry_of is not None:
        pairs.append(("retry of", found.retry_of))
    print_pairs(pairs)
    print_line("")
    print_table(
        ("AT (UTC)", "STATE", "ATTEMPT", "CAUSE"),
        [(clock_time(t.at_ms), t.state, t.attempt or "", t.cause or "") for t in history],
        right=("ATTEMPT",),
    )
    print_line("")
    for line in [*map(stage_line, view.stages), *partition_lines(view.partitions, done_word(view))]:
        print_line(line)
    print_notifications(told)


@command(jobs, "wait", "muster jobs wait JOB", "muster jobs wait JOB --timeout 600 --json")
def wait(*, job: options.JobArgument, timeout: options.Timeout = None, json: options.Json = False) -> None:
    """Follow a job until it has ended.

    The exit code tells how it ended.
    """
    del json
    from orchestration.cli.following import wait_for
    from orchestration.operations.follow import require_job
    from orchestration.platform.clock import now_ms

    context = catalog_context()
    wanted = job_id(job)
    require_job(context, wanted, now_ms())
    raise typer.Exit(wait_for(context, wanted, timeout_s=timeout))


@command(jobs, "cancel", "muster jobs cancel JOB")
def cancel(*, job: options.JobArgument, json: options.Json = False) -> None:
    """Cancel a job, so that nothing of it is published.

    Possible until its version is being published. A job that was just submitted is waited for until it is registered.
    """
    del json
    import time

    from orchestration.operations.follow import await_registration
    from orchestration.operations.job_records import job_record
    from orchestration.operations.jobs import cancel as cancel_job
    from orchestration.platform.clock import now_ms

    context = catalog_context()
    wanted = job_id(job)
    await_registration(context, wanted, now_ms=now_ms, sleep=time.sleep)
    done = cancel_job(context, wanted)
    if SESSION.json:
        print_json({**job_record(done.job), "already": done.already, "warnings": done.warnings})
    else:
        print_line(f"job {done.job.job_id} {'was cancelled before' if done.already else 'is CANCELLED'}")
    for warning in done.warnings:
        say(warning)


@command(jobs, "retry", "muster jobs retry JOB --wait", "muster jobs retry JOB --with-audience-settings --wait")
def retry(
    *,
    job: options.JobArgument,
    with_audience_settings: Annotated[
        bool, typer.Option("--with-audience-settings", help="With what the audience is set to now.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also a file that was at fault; it will fail again.")] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow the new job.")] = False,
    timeout: options.Timeout = None,
    json: options.Json = False,
) -> None:
    """Run a FAILED or CANCELLED job again.

    A new job for the same file and the same options, or the present settings of its audience.
    """
    del json
    from orchestration.cli.following import wait_for
    from orchestration.operations.jobs import retry as retry_job

    context = stack_context()
    new = SESSION.job = retry_job(context, job_id(job), force=force, with_audience_settings=with_audience_settings)
    if wait:
        raise typer.Exit(wait_for(context, new, timeout_s=timeout))
    if SESSION.json:
        print_json({"job": new, "state": "SUBMITTED", "retry_of": job})
    else:
        print_line(new)
        say(f"Submitted. `muster jobs wait {new}` follows the job.")


def receipt(*, job: options.JobArgument, json: options.Json = False) -> None:
    """Show the receipt of a READY job.

    Rows, rejects, duplicates and members: they add up.
    """
    del json
    from orchestration.cli.following import print_receipt

    context = catalog_context()
    found = context.jobs.get(job_id(job))
    kept = context.jobs.receipt(found.job_id)
    if kept is None:
        say(f"job {found.job_id} is {found.state} and has no receipt; `muster jobs show {found.job_id}` tells more")
        if SESSION.json:
            print_json(None)
        code = of_job(found)
        raise typer.Exit(code if code is not ExitCode.OK else ExitCode.SYSTEM_ERROR)
    if SESSION.json:
        print_json(dict(kept))
    else:
        print_receipt(dict(kept))
        print_table(
            ("PARTITION", "CHUNKS", "RECORDS", "DISTINCT"),
            [
                (p["partition"], number(p["chunks"]), number(p["records"]), number(p["distinct"]))
                for p in kept["partitions"]
            ],
            right=("PARTITION", "CHUNKS", "RECORDS", "DISTINCT"),
        )


def rejects(
    *,
    job: options.JobArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most so many.")] = 20,
    to: options.OutputPath = None,
    json: options.Json = False,
) -> None:
    """Show the rows of a job that were refused.

    Where they are, why they were refused, and how they begin.
    """
    del json
    from connectors.private_files import write_private
    from orchestration.operations.rejects import read_rejects, rejects_file

    file = rejects_file(lake_context(), job_id(job))
    if to is not None and file is not None:
        try:
            write_private(to, file)
        except OSError as exc:
            raise UserError("NOT_WRITABLE", f"{to} cannot be written: {exc.strerror}", path=str(to)) from exc
        say(f"All rejects are in {to} (Parquet).")
        if SESSION.json:
            print_json({"job": job, "file": str(to)})
        return
    rows, total = read_rejects(file, limit) if file is not None else ([], 0)
    if SESSION.json:
        print_json({"job": job, "total": total, "rejects": rows})
        return
    if not rows:
        say("The job has no rejects.")
        return
    print_table(
        ("LINE", "BYTE", "COLUMN", "CODE", "REASON", "ROW BEGINS"),
        [(_place(r), _byte(r), r["column"] or "", r["code"], r["reason"], safe(r["raw"])[:60]) for r in rows],
        right=("LINE", "BYTE"),
    )
    if total > len(rows):
        say(f"{number(len(rows))} of {number(total)} rejects; --limit shows more, --to writes all of them.")


def _byte(row: dict[str, object]) -> str:
    return "" if row["byte_offset"] is None else str(row["byte_offset"])


def _place(row: dict[str, object]) -> str:
    if row["line"] is not None:
        return str(row["line"])
    return "" if row["ordinal"] is None else f"row {int(str(row['ordinal'])) + 1}"


def _state(text: str, view: "JobView") -> str:
    from orchestration.cli.rendering import waiting_text

    return f"{text}, {waits}" if (waits := waiting_text(view.no_worker_s)) else text


def _rows(job: "Job") -> str:
    if (seen := job.evidence) is None:
        return "-"
    return f"{number(seen['rows'])} = {number(seen['accepted'])} accepted + {number(seen['rejected'])} rejected"


def _result(job: "Job") -> str:
    if job.error is not None:
        return job.error.code
    if job.outcome is None:
        return ""
    if job.state == "SUPERSEDED":
        return f"by v{job.outcome['version']}"
    if job.kind != "audience":
        return f"{number(job.outcome['stored'])} stored, {number(job.outcome['duplicates'])} duplicates"
    return f"v{job.outcome['version']}, {number(job.outcome['members'])} members"
