"""Jobs of a tenant: imports, snapshots and exports."""

from collections.abc import Collection
from typing import Any

from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.job_details import addresses_for, job_detail, job_page
from orchestration.access.pages import Page, Record, number_in, page_of
from orchestration.access.policy import Action
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.job_rows import unknown_job
from orchestration.catalog.records import Export, Job
from orchestration.operations.rejects import rejects_object
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import ReadRejects
from schemas.errors import UserError
from schemas.ids import (
    job_id,
)
from schemas.job_kinds import JobKind


class JobsView(TenantView):
    """Jobs as one caller sees them."""

    @reads(Action.READ_JOBS)
    def jobs(
        self,
        *,
        kinds: Collection[JobKind] = (),
        audience: str | None = None,
        states: Collection[str] = (),
        before: str | None = None,
        limit: int,
    ) -> Page[Record]:
        """Jobs of these kinds in one of these states (empty: all), newest first. Raises `UserError` UNKNOWN_STATE."""
        return job_page(
            self._services, self._name, kinds=kinds, audience=audience, states=states, before=before, limit=limit
        )

    @reads(Action.READ_JOBS)
    def job(self, id_: str) -> Record:
        """A job of any kind with its history and progress; for a duplicate, its original.

        Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB.
        """
        return job_detail(self._services, job_id(id_), tenant=self._name, addresses=addresses_for(self._caller))

    @reads(Action.READ_JOBS)
    def receipt(self, id_: str) -> Record:
        """The receipt of a job. Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB, NO_RECEIPT."""
        job = self._import(id_, "NO_RECEIPT")
        found = self._services.jobs.receipt(job.job_id, tenant=self._name)
        if found is None:
            raise UserError("NO_RECEIPT", f"job {job.job_id} is {job.state} and has no receipt", state=job.state)
        return found

    @recorded(Action.READ_REJECTS, "rejects")
    def rejects(self, entry: Entry, id_: str) -> Record:
        """How many rows of a job were rejected, by code; None before they are counted.

        Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB, NO_REJECTS.
        """
        return _counted_rejects(self._rejected(entry, id_))

    @recorded(Action.READ_REJECTS, "rejects")
    def rejected_rows(
        self,
        entry: Entry,
        cancellation: Cancellation,
        id_: str,
        *,
        code: str | None = None,
        after: str | None = None,
        limit: int,
    ) -> tuple[Record, Page[Record]]:
        """As `rejects`, and the rows [with a code], in the order of the file. Raises also as `Readers.ask`."""
        job = self._rejected(entry, id_)
        entry.arguments = {"code": code}
        skip = 0 if after is None else number_in(after)
        question = ReadRejects(tenant=self._name, job=job.job_id, code=code, skip=skip, limit=limit + 1)
        found = self._services.readers.ask(question, cancellation)
        rows = page_of(found["rows"], limit, lambda row: str(row["number"]), lambda row: row)
        return {**_counted_rejects(job), "kept": found["kept"]}, rows

    @recorded(Action.READ_REJECTS, "rejects")
    def rejects_file(self, entry: Entry, id_: str) -> Record:
        """All rejected rows as a Parquet file, with a URL that fetches it within five minutes.

        Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB, NO_REJECTS; `RetriableError` S3_UNAVAILABLE.
        """
        job, services = self._rejected(entry, id_), self._services
        found = rejects_object(job.job_id, jobs=services.jobs, objects=services.objects, settings=services.settings)
        if found is None:
            raise UserError("NO_REJECTS", f"job {job.job_id} has no rejects", job=job.job_id)
        url = services.presigner.get(found.bucket, found.key, name=f"rejects-{job.job_id}.parquet").url
        return {"job": job.job_id, "bytes": found.size, "url": url}

    def _rejected(self, entry: Entry, id_: str) -> Job:
        job = self._import(id_, "NO_REJECTS")
        entry.object, entry.job_id = job.audience, job.job_id
        return job

    def _import(self, id_: str, code_of_exports: str) -> Job:
        """An import or a snapshot; for a duplicate, its original."""
        wanted = job_id(id_)
        found = self._services.all_jobs.find(wanted, tenant=self._name)
        if found is None:
            raise unknown_job(wanted)
        if isinstance(found, Export):
            raise UserError(
                code_of_exports, f"job {wanted} is an export; its manifest says what it has written", job=wanted
            )
        return found


def _counted_rejects(job: Job) -> dict[str, Any]:
    # A job that failed for its rejects has no evidence: its error has the numbers.
    counted = job.evidence or ({} if job.error is None else job.error.detail)
    return {
        "job": job.job_id,
        "rejected": counted.get("rejected"),
        "rejected_by_code": counted.get("rejected_by_code", {}),
        "kept": None,
    }
