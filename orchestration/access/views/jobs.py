"""Jobs of a tenant: imports, snapshots and exports."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from orchestration.access.bodies.common import Moment, Named, Since, milliseconds
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.job_details import Kinds, States, addresses_for, job_detail, job_page
from orchestration.access.pages import Page, first, number_in
from orchestration.access.policy import Action
from orchestration.access.problems import OF_OBJECTS
from orchestration.access.views.tenant import TenantView
from orchestration.catalog import records as catalog
from orchestration.catalog.job_filters import JobFilter
from orchestration.operations.rejects import rejects_object
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import ReadFiles, ReadRejects
from orchestration.records.fields import About
from orchestration.records.jobs import ExportJobDetail, ImportJobDetail, Job, JobFile, Reject, Rejects, RejectsFile
from schemas.errors import UserError
from schemas.ids import job_id
from schemas.job_kinds import JOB_KINDS, JobKind
from schemas.records import from_record

JobPart = Annotated[str, About("Only jobs with this part in the audience's name or in their id.", max_length=63)]
Until = Annotated[Moment | None, About("Only earlier ones.")]
StartedBy = Annotated[
    str,
    About(
        "Only jobs that were started by hand by people or accounts with this part in their names; those who may not "
        "read the audit trail find their own.",
        max_length=100,
    ),
]
Receipt = Mapping[str, Any]
"""As it was stored: later releases add members."""


class Jobs(TenantView):
    """Jobs as one caller sees them."""

    @reads(Action.READ_JOBS, "GET /jobs", problems=("UNKNOWN_STATE",))
    def list_jobs(
        self,
        *,
        kind: Kinds = None,
        audience: Named = None,
        state: States = None,
        part: JobPart = "",
        since: Since = None,
        until: Until = None,
        started_by: StartedBy = "",
        before: str | None = None,
        limit: int,
    ) -> Page[Job]:
        """Jobs of all kinds, newest first."""
        return job_page(
            self._services,
            self._name,
            kinds=kind,
            audience=audience,
            states=state,
            before=before,
            narrowed=self._narrowed(part, since, until, started_by),
            limit=limit,
        )

    @reads(Action.READ_JOBS)
    def count_jobs(
        self,
        *,
        kind: Collection[JobKind] = (),
        audience: str | None = None,
        state: Collection[str] = (),
        part: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        started_by: str = "",
        most: int,
    ) -> int:
        """How many jobs the list has; at most `most` are counted."""
        return self._services.all_jobs.count(
            kinds=kind or JOB_KINDS,
            tenant=self._name,
            audience=audience,
            states=state,
            narrowed=self._narrowed(part, since, until, started_by),
            most=most,
        )

    def _narrowed(self, part: str, since: datetime | None, until: datetime | None, started_by: str) -> JobFilter:
        """Others than those who may read the audit trail find only what they have started themselves."""
        return JobFilter(
            part=part,
            since_ms=milliseconds(since),
            until_ms=milliseconds(until),
            started_by=started_by,
            principal=self._only_own if started_by else None,
        )

    @reads(Action.READ_JOBS, "GET /jobs/{job}")
    def get_job(self, job: str) -> ImportJobDetail | ExportJobDetail:
        """A job with its history and progress. For a duplicate, its original."""
        return job_detail(self._services, job_id(job), tenant=self._name, addresses=addresses_for(self._caller))

    @reads(Action.READ_JOBS)
    def receipt(self, job: str) -> Receipt:
        """The receipt of a READY import or snapshot. Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB, NO_RECEIPT."""
        row = self._import(job, "NO_RECEIPT")
        found = self._services.jobs.receipt(row.job_id, tenant=self._name)
        if found is None:
            raise UserError("NO_RECEIPT", f"job {row.job_id} is {row.state} and has no receipt", state=row.state)
        return found

    @reads(Action.READ_JOBS, "GET /jobs/{job}/files", problems=("NO_FILES",), client="job_files")
    def list_job_files(
        self, cancellation: Cancellation, job: str, *, after: str | None = None, limit: int
    ) -> Page[JobFile]:
        """The files of an import in the order in which they were read, with their rows; none before verification."""
        row = self._import(job, "NO_FILES")
        if row.segment is not None:
            raise UserError("NO_FILES", f"job {row.job_id} takes the members of a segment and reads no file")
        if row.files == 1:
            return Page(items=[_only_file(row)], next=None)
        skip = 0 if after is None else number_in(after)
        question = ReadFiles(tenant=self._name, job=row.job_id, skip=skip, limit=limit + 1)
        found = self._services.readers.ask(question, cancellation)
        return first([from_record(JobFile, one) for one in found["rows"]], limit, lambda one: str(one.number))

    @recorded(Action.READ_REJECTS, "rejects")
    def rejects(self, entry: Entry, job: str) -> Rejects:
        """How many rows of a job were rejected, by code; None before they are counted.

        Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB, NO_REJECTS.
        """
        return _counted_rejects(self._rejected(entry, job))

    @recorded(Action.READ_REJECTS, "rejects")
    def rejected_rows(
        self,
        entry: Entry,
        cancellation: Cancellation,
        job: str,
        *,
        code: str | None = None,
        after: str | None = None,
        limit: int,
    ) -> Rejects:
        """As `rejects`, and the rows [with a code], in the order of the file. Raises also as `Readers.ask`."""
        row = self._rejected(entry, job)
        entry.arguments = {"code": code}
        skip = 0 if after is None else number_in(after)
        question = ReadRejects(tenant=self._name, job=row.job_id, code=code, skip=skip, limit=limit + 1)
        found = self._services.readers.ask(question, cancellation)
        page = first([from_record(Reject, one) for one in found["rows"]], limit, lambda one: str(one.number))
        return replace(_counted_rejects(row), kept=found["kept"], items=page.items, next=page.next)

    @recorded(Action.READ_REJECTS, "rejects", "GET /jobs/{job}/rejects/file", problems=(*OF_OBJECTS, "NO_REJECTS"))
    def get_rejects_file(self, entry: Entry, job: str) -> RejectsFile:
        """All rejected rows of a job as a Parquet file, which is fetched with a URL that is valid for five minutes."""
        row, services = self._rejected(entry, job), self._services
        found = rejects_object(row.job_id, jobs=services.jobs, objects=services.objects, settings=services.settings)
        if found is None:
            raise UserError("NO_REJECTS", f"job {row.job_id} has no rejects", job=row.job_id)
        url = services.presigner.get(found.bucket, found.key, name=f"rejects-{row.job_id}.parquet").url
        return RejectsFile(job=row.job_id, bytes=found.size, url=url)

    def _rejected(self, entry: Entry, id_: str) -> catalog.Job:
        job = self._import(id_, "NO_REJECTS")
        entry.object, entry.job_id = job.audience, job.job_id
        return job

    def _import(self, id_: str, code_of_exports: str) -> catalog.Job:
        """An import or a snapshot; for a duplicate, its original."""
        wanted = job_id(id_)
        found = self._services.all_jobs.get(wanted, tenant=self._name)
        if isinstance(found, catalog.Export):
            raise UserError(
                code_of_exports, f"job {wanted} is an export; its manifest says what it has written", job=wanted
            )
        return found


def _only_file(job: catalog.Job) -> JobFile:
    evidence = job.evidence or {}
    return JobFile(
        number=1,
        file=job.origin,
        version_id=job.source.get("version_id"),
        etag=job.source.get("etag"),
        bytes=int(job.source.get("size", 0)),
        **{name: evidence.get(name) for name in ("rows", "accepted", "rejected")},
        digest=None,
    )


def _counted_rejects(job: catalog.Job) -> Rejects:
    # A job that failed for its rejects has no evidence: its error has the numbers.
    counted = job.evidence or ({} if job.error is None else job.error.detail)
    return Rejects(
        job=job.job_id,
        rejected=counted.get("rejected"),
        rejected_by_code=counted.get("rejected_by_code", {}),
        kept=None,
        items=[],
        next=None,
    )
