"""One job: its progress, its result, and what to do about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.jobs import Retry
from orchestration.access.policy import Action
from orchestration.access.views.jobs import Jobs, Receipt
from orchestration.access.views.submissions import Submissions
from orchestration.console.context import PageContext, ask
from orchestration.console.faults import Fault, RejectCount, counted_rejects, fault_of, rejects_of
from orchestration.console.formatting import duration, percent, precise
from orchestration.console.forms import form_of, fresh_key, key_of
from orchestration.console.frame import frame_of
from orchestration.console.import_form import OTHERS, others_of
from orchestration.console.job_texts import JobWords, id_of, kind_of, traits_of, words_of
from orchestration.console.language import Texts
from orchestration.console.pages.live import live
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.receipts import Column, Sum, columns_of, sums_of
from orchestration.console.rendering import see_other, shown
from orchestration.platform.clock import iso
from orchestration.records.jobs import ExportJob, ExportJobDetail, ImportJobDetail, Job, Retried
from schemas.errors import UserError

SHOWN_PARTITIONS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition: its progress, in rows, and in words."""

    found: Mapping[str, Any]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A step of the history."""

    text: str
    cause: str
    at: str
    lasted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """`cancel_path`, `retry_path`: None if that is not possible, or not for this reader. `key`: of a retry.

    `audience_path`: None for events and profiles, and for those who may not read audiences. `shrank`: too many members
    would have left. `files_path`: of an export that waits for its receiver.
    """

    job: JobWords
    part_path: str
    stream: str
    audience_path: str | None
    took: str
    partitions: Sequence[Partition]
    more_partitions: int
    fault: Fault | None
    sums: Sequence[Sum]
    columns: Sequence[Column]
    rejected: int
    rejects: Sequence[RejectCount]
    rejects_path: str | None
    history: Sequence[Event]
    duplicate_of: str | None
    cancel_path: str | None
    retry_path: str | None
    shrank: bool
    fix_path: str | None
    again_path: str | None
    files_path: str | None
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingPage:
    """A job that was started a moment ago."""

    id: str
    started_path: str


async def show_job(request: Request) -> Response:
    """The page; for a job that was just started, a page that waits for it."""
    wanted, files = request.path_params["job"], _files_of(request)

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "jobs")
        try:
            return shown("job.html", frame, page_of(context, wanted, frame.texts, files=files))
        except UserError as exc:
            if exc.code != "UNKNOWN_JOB" or "started" not in request.query_params:
                raise
            path = in_tenant(context.tenant, "jobs", wanted, "started", **files)
            return shown("starting.html", frame, StartingPage(id=wanted, started_path=path))

    return await ask(request, call)


async def show_part(request: Request) -> Response:
    """The content of the page, as it is now."""

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "jobs")
        page = page_of(context, request.path_params["job"], frame.texts, files=_files_of(request))
        return shown("parts/job.html", frame, page)

    return await ask(request, call)


async def find_started(request: Request) -> Response:
    """Leads to the page of a job as soon as there is one."""
    wanted, files = request.path_params["job"], _files_of(request)

    def call(context: PageContext) -> Response:
        try:
            context.view(Jobs).get_job(wanted)
        except UserError as exc:
            if exc.code != "UNKNOWN_JOB":
                raise
            return Response(status_code=204)
        return Response(status_code=204, headers={"HX-Redirect": in_tenant(context.tenant, "jobs", wanted, **files)})

    return await ask(request, call)


async def cancel(request: Request) -> Response:
    """Cancel the job."""
    await form_of(request)
    wanted = request.path_params["job"]

    def call(context: PageContext) -> Response:
        context.view(Submissions).cancel_job(wanted)
        return see_other(in_tenant(context.tenant, "jobs", wanted))

    return await ask(request, call)


async def retry(request: Request) -> Response:
    """Start the job again, as a new job."""
    form = await form_of(request)
    key, wanted = key_of(request, form), request.path_params["job"]
    body = Retry(
        with_audience_settings="with_audience_settings" in form,
        force="force" in form,
        allow_shrink="allow_shrink" in form,
    )

    def call(context: PageContext) -> Response:
        started = context.view(Submissions).retry_job(wanted, body, key=key)
        id_ = started.job if isinstance(started, Retried) else started.export
        return see_other(in_tenant(context.tenant, "jobs", id_, started="1"))

    return await ask(request, call)


Files = Mapping[str, Any]
"""What an address carries on: the upload that the job was started for, and those that are imported with it."""


def _files_of(request: Request) -> Files:
    """Empty if the job was not started a moment ago."""
    return {"upload": request.query_params.get("upload", "")[:26], OTHERS: others_of(request)}


def page_of(context: PageContext, wanted: str, t: Texts, *, files: Files = MappingProxyType({})) -> JobPage:
    """A job with everything known of it. `files`: what it imports, if known. Raises as `Jobs.get_job`."""
    job = context.view(Jobs).get_job(wanted)
    words, tenant, runs = words_of(job, t), context.tenant, context.may(Action.RUN_JOBS)
    id_, final = words.id, words.final
    receipt, imported = _receipt(context, job), job if isinstance(job, ImportJobDetail) else None
    duplicate = imported is not None and imported.duplicate_of is not None
    partitions = () if imported is None else imported.partition_progress
    counted = counted_rejects(job)
    rejected = counted.get("rejected_by_code") or {}
    may_see_rejects = bool(rejected) and context.may(Action.READ_REJECTS)
    return JobPage(
        job=words,
        part_path=in_tenant(tenant, "jobs", wanted if duplicate else id_, "part", **files),
        stream="" if final else live(tenant, "job", id_),
        audience_path=in_tenant(tenant, "audiences", job.audience)
        if context.may(Action.READ) and traits_of(job).of_audience
        else None,
        took=_took(job, t),
        partitions=[] if final else [_partition(one, t) for one in partitions[:SHOWN_PARTITIONS]],
        more_partitions=max(0, len(partitions) - SHOWN_PARTITIONS),
        fault=fault_of(job.error, t),
        sums=() if receipt is None else sums_of(receipt, t),
        columns=() if receipt is None else columns_of(receipt, t),
        rejected=counted.get("rejected") or 0,
        rejects=[
            replace(one, path=in_tenant(tenant, "jobs", id_, "rejects", code=one.code))
            for one in rejects_of(rejected, t)
        ],
        rejects_path=in_tenant(tenant, "jobs", id_, "rejects") if may_see_rejects else None,
        history=_history(job, t),
        duplicate_of=wanted if duplicate else None,
        cancel_path=in_tenant(tenant, "jobs", id_, "cancel") if runs and not final else None,
        retry_path=in_tenant(tenant, "jobs", id_, "retry") if runs and job.state in {"FAILED", "CANCELLED"} else None,
        shrank=job.error is not None and job.error.code == "AUDIENCE_WOULD_SHRINK",
        fix_path=in_tenant(tenant, "upload", like=id_) if runs and rejected and kind_of(job) == "audience" else None,
        again_path=in_tenant(tenant, "uploads", upload, "again", **{OTHERS: files.get(OTHERS)})
        if runs and duplicate and (upload := files.get("upload"))
        else None,
        files_path=in_tenant(tenant, "jobs", id_, "files") if runs and _has_files(context, job) else None,
        key=fresh_key(),
    )


def _has_files(context: PageContext, job: Job) -> bool:
    """Whether it is an export whose files can be downloaded."""
    if not isinstance(job, ExportJob) or job.state != "READY":
        return False
    return context.view(Submissions).waits_for_receiver(str(job.request.get("to")))


def _receipt(context: PageContext, job: Job) -> Receipt | None:
    if job.state != "READY" or isinstance(job, ExportJob):
        return None
    try:
        return context.view(Jobs).receipt(id_of(job))
    except UserError as exc:
        if exc.code != "NO_RECEIPT":
            raise
        return None


def _partition(one: Mapping[str, Any], t: Texts) -> Partition:
    parts = [
        t("job.sent_taken", sent=percent(one["sent"], one["expected"]), taken=percent(one["taken"], one["expected"]))
    ]
    if one["state"] is not None:
        parts = [t(f"partition.{one['state']}")]
    if one["lag"]:
        parts.append(t("job.lag", count=one["lag"]))
    if one["left_s"] is not None:
        parts.append(t("job.left", duration=duration(one["left_s"], t)))
    return Partition(found=one, text=" · ".join(parts))


def _event(one: Mapping[str, Any], t: Texts) -> Event:
    text = t(f"state.{one['state']}")
    if one.get("attempt", 0) > 1:
        text = t("job.attempt", state=text, attempt=one["attempt"])
    return Event(text=text, cause=str(one["cause"] or ""), at=one["at"] if "at" in one else iso(one["at_ms"]))


def _history(job: ImportJobDetail | ExportJobDetail, t: Texts) -> list[Event]:
    """The steps, each with how long it lasted; the last one has no end."""
    events = [_event(one, t) for one in job.history]
    times = [datetime.fromisoformat(one.at) for one in events]
    lasted = [(later - at).total_seconds() for at, later in pairwise(times)]
    return [*(replace(one, lasted=precise(s, t)) for one, s in zip(events, lasted, strict=False)), *events[-1:]]


def _took(job: Job, t: Texts) -> str:
    """From its start to its end; empty while it runs."""
    if job.finished_at is None:
        return ""
    begun, ended = (datetime.fromisoformat(one) for one in (job.created_at, job.finished_at))
    return duration((ended - begun).total_seconds(), t)


ROUTES: Final = (
    Route(f"{IN_TENANT}/jobs/{{job}}", show_job),
    Route(f"{IN_TENANT}/jobs/{{job}}/part", show_part),
    Route(f"{IN_TENANT}/jobs/{{job}}/started", find_started),
    Route(f"{IN_TENANT}/jobs/{{job}}/cancel", cancel, methods=["POST"]),
    Route(f"{IN_TENANT}/jobs/{{job}}/retry", retry, methods=["POST"]),
)
