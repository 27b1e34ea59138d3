"""`muster fsck`: holds staging, the lake and the catalog against each other.

Truth is the lake: receipts and outcomes derive from snapshots and are written again by `--repair`; staged data of
jobs that have ended is nobody's and is removed by it. Everything else is reported and left as it is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from orchestration.catalog.records import Audience, Job
from orchestration.clock import now_ms
from orchestration.receipts import make_receipt, receipt_fault
from orchestration.steps.materialised import complete
from orchestration.steps.references import ref_of
from schemas.errors import FatalError, MusterError
from schemas.ids import JobId
from schemas.layout import audience_prefix, split_s3_uri, staging_prefix
from segmentation.jobs import FINAL
from segmentation.versions import VersionInfo

if TYPE_CHECKING:
    from orchestration.context import Context

Severity = Literal["wrong", "note"]
SETTLE_MS: Final = 60_000
"""The sweeper removes what a job has staged within seconds; what is left a minute after its end is a leftover."""
JOBS: Final = 1_000_000
_IMPORT_MODES: Final = frozenset({"replace", "append", "remove"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be. A `note` is worth knowing and not wrong."""

    severity: Severity
    code: str
    subject: str
    message: str
    repaired: bool = False

    def as_record(self) -> dict[str, object]:
        """Plain JSON data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was looked at, and what was found."""

    audiences: int
    versions: int
    jobs: int
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> int:
        """Findings that are wrong and were not repaired."""
        return sum(1 for f in self.findings if f.severity == "wrong" and not f.repaired)

    def as_record(self) -> dict[str, object]:
        """Plain JSON data."""
        return {
            "audiences": self.audiences,
            "versions": self.versions,
            "jobs": self.jobs,
            "wrong": self.wrong,
            "findings": [finding.as_record() for finding in self.findings],
        }


def fsck(context: "Context", *, repair: bool = False) -> Report:
    """Check everything. Raises `RetriableError` when one of the three cannot be read."""
    jobs = context.jobs.search(limit=JOBS)
    audiences = context.audiences.all()
    findings: list[Finding] = []
    versions = 0
    for audience in audiences:
        infos = list(context.versions.versions(ref_of(audience)))
        versions += len(infos)
        own = [job for job in jobs if job.audience_id == audience.audience_id]
        findings += _check_jobs(context, own, infos, repair=repair)
        # A job may have gone on, or begun, since the list was read: it is judged by what it is now.
        current = {job.job_id: job for info in infos if (job := context.jobs.find(info.import_id)) is not None}
        findings += check_snapshots(audience, infos, current)
        findings += _check_files(context, audience, infos, live={j.job_id for j in own if j.state not in FINAL})
    findings += _check_staging(context, {job.job_id: job for job in jobs}, repair=repair)
    return Report(audiences=len(audiences), versions=versions, jobs=len(jobs), findings=tuple(findings))


def check_snapshots(audience: Audience, infos: Iterable[VersionInfo], jobs: dict[JobId, Job]) -> Iterator[Finding]:
    """Every version that an import made has its job, and that job is READY."""
    for info in infos:
        if info.mode not in _IMPORT_MODES:
            continue
        subject = f"{audience.tenant}/{audience.name} v{info.version}"
        job = jobs.get(info.import_id)
        if job is None:
            yield Finding(
                severity="wrong",
                code="SNAPSHOT_WITHOUT_JOB",
                subject=subject,
                message=f"was made by import {info.import_id}, which the catalog does not know",
            )
        elif job.state == "PUBLISHING":
            yield Finding(
                severity="note",
                code="PUBLISH_UNFINISHED",
                subject=subject,
                message=f"is published; job {job.job_id} will be READY when the workflow has gone on",
            )
        elif job.state != "READY":
            yield Finding(
                severity="wrong",
                code="SNAPSHOT_OF_FAILED_JOB",
                subject=subject,
                message=f"was made by job {job.job_id}, which is {job.state}",
            )


def receipt_problem(job: Job, receipt: dict[str, object] | None, info: VersionInfo) -> tuple[str, str] | None:
    """(code, message) when the receipt or outcome of a READY job is not what the snapshot says."""
    if receipt is None:
        return "RECEIPT_MISSING", f"version {info.version} is published, but the job has no receipt"
    if (fault := receipt_fault(dict(receipt))) is not None:
        return "RECEIPT_WRONG", fault
    said = {
        "version": info.version,
        "snapshot_id": info.snapshot_id,
        "members": info.members,
        "digest": str(info.digest),
    }
    for where, record in (("receipt", receipt), ("outcome", job.outcome or {})):
        for name, value in said.items():
            if record.get(name) != value:
                return "RECEIPT_WRONG", f"the {where} says {name} {record.get(name)}, the snapshot {value}"
    return None


def _check_jobs(
    context: "Context", jobs: Iterable[Job], infos: list[VersionInfo], *, repair: bool
) -> Iterator[Finding]:
    by_number = {info.version: info for info in infos}
    oldest = min(by_number, default=None)
    for job in jobs:
        if job.state != "READY":
            continue
        number = (job.outcome or {}).get("version")
        info = next((i for i in infos if i.import_id == job.job_id), None)
        if info is None:
            if number is None or oldest is None or number >= oldest:  # older ones have been expired
                yield Finding(
                    severity="wrong",
                    code="VERSION_MISSING",
                    subject=f"job {job.job_id}",
                    message=f"is READY with version {number}, which {job.tenant}/{job.audience} does not have",
                )
            continue
        receipt = context.jobs.receipt(job.job_id)
        if (problem := receipt_problem(job, None if receipt is None else dict(receipt), info)) is not None:
            yield _receipt_finding(context, job, info, problem, repair=repair)


def _receipt_finding(
    context: "Context", job: Job, info: VersionInfo, problem: tuple[str, str], *, repair: bool
) -> Finding:
    code, message = problem
    repaired = False
    if repair:
        try:
            receipt = make_receipt(
                job, complete(context, job, attempt=info.attempt), info, finished_at_ms=job.finished_at_ms or now_ms()
            )
        except FatalError as exc:
            message = f"{message}; it cannot be made again: {exc.message}"
        else:
            context.jobs.put_receipt(job.job_id, receipt)
            outcome = {name: receipt[name] for name in ("version", "snapshot_id", "members", "digest", "attempt")}
            context.jobs.put(job.job_id, outcome=outcome)
            repaired = True
    return Finding(severity="wrong", code=code, subject=f"job {job.job_id}", message=message, repaired=repaired)


def _check_files(
    context: "Context", audience: Audience, infos: list[VersionInfo], live: set[JobId]
) -> Iterator[Finding]:
    """Every file of every version is there; what else lies in the data prefix is nobody's."""
    ref = ref_of(audience)
    bucket = context.settings.lake_bucket
    prefix = audience_prefix(audience.tenant, audience.audience_id) + "data/"
    stored = {entry.key: entry.size for entry in context.objects.list(bucket, prefix)}
    referred: set[str] = set()
    for info in infos:
        subject = f"{audience.tenant}/{audience.name} v{info.version}"
        try:
            parts = context.versions.files(ref, info.version)
        except MusterError as exc:
            yield Finding(severity="wrong", code=exc.code, subject=subject, message=exc.message)
            continue
        for part in parts:
            key = split_s3_uri(part.uri)[1]
            referred.add(key)
            if key not in stored:
                yield Finding(severity="wrong", code="FILE_MISSING", subject=subject, message=f"{part.uri} is gone")
            elif part.bytes and stored[key] != part.bytes:
                message = f"{part.uri} has {stored[key]} bytes, not {part.bytes}"
                yield Finding(severity="wrong", code="FILE_CHANGED", subject=subject, message=message)
    unknown = [k for k in stored if k not in referred and k.rpartition("/")[2][:26] not in live]
    if unknown:
        size = sum(stored[key] for key in unknown)
        yield Finding(
            severity="note",
            code="UNREFERENCED_FILES",
            subject=f"{audience.tenant}/{audience.name}",
            message=f"{len(unknown)} files ({size} bytes) belong to no version; `muster audiences expire` removes them "
            "once they are old enough",
        )


def _check_staging(context: "Context", jobs: dict[JobId, Job], *, repair: bool) -> Iterator[Finding]:
    bucket = context.settings.staging_bucket
    sizes: dict[JobId, int] = {}
    for entry in context.objects.list(bucket, "imports/"):
        owner = JobId(entry.key.split("/")[1])
        sizes[owner] = sizes.get(owner, 0) + entry.size
    for owner, size in sizes.items():
        job = jobs.get(owner) or context.jobs.find(owner)
        if job is not None and (job.finished_at_ms is None or now_ms() - job.finished_at_ms < SETTLE_MS):
            continue
        if repair:
            context.objects.delete_prefix(bucket, staging_prefix(owner))
        whose = f"which is {job.state}" if job is not None else "which the catalog does not know"
        yield Finding(
            severity="wrong",
            code="STAGED_LEFTOVER",
            subject=f"job {owner}",
            message=f"{size} bytes are staged for a job {whose}",
            repaired=repair,
        )
