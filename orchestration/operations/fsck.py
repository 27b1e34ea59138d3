"""`muster fsck`: compares staging, the lake and the catalog.

The lake is the truth: state, outcome and receipt of a job whose version is published derive from the snapshot, and
`--repair` writes them again (`operations.job_repair`). It also removes data staged for jobs that have ended, holds of
exports that no longer run, and lists of users that do not match their file. Everything else is only reported.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from orchestration.catalog.records import Audience, Job
from orchestration.catalog.references import ref_of
from orchestration.kinds.receipts import receipt_fault
from orchestration.operations.findings import Finding
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, MusterError
from schemas.ids import JobId, Version
from schemas.layout import (
    IMPORTS_PREFIX,
    audience_prefix,
    is_lake_key,
    is_staging_key,
    part_import,
    split_s3_uri,
    staged_import,
    staging_prefix,
)
from schemas.records import as_record
from segmentation.jobs import FINAL
from segmentation.versions import VersionInfo

if TYPE_CHECKING:
    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.exports import ExportStore
    from orchestration.catalog.jobs import JobStore
    from orchestration.operations.archive_fsck import ArchiveFsck
    from orchestration.operations.job_repair import JobRepair
    from orchestration.platform.settings import Settings
    from segmentation.versions import VersionStore

GRACE_MS: Final = 60_000
"""The sweeper removes a job's staged data within seconds; anything left a minute after the job's end is a leftover."""
JOBS: Final = 1_000_000
FOREIGN_SHOWN: Final = 5
_IMPORT_MODES: Final = frozenset({"replace", "append", "remove"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was checked, and what was found."""

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
            "findings": [as_record(finding) for finding in self.findings],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Fsck:
    """Finds and repairs what disagrees. `repair` writes what follows from the lake; the rest is reported."""

    archive: "ArchiveFsck"
    audiences: "AudienceStore"
    exports: "ExportStore"
    job_repair: "JobRepair"
    jobs: "JobStore"
    objects: "ObjectStore"
    settings: "Settings"
    versions: "VersionStore"

    def run(self, *, repair: bool = False, deep: bool = False) -> Report:
        """Check everything; `deep`: including checks that read all of the archive.

        Raises `RetriableError` if staging, lake or catalog cannot be read.
        """
        jobs = self.jobs.search(limit=JOBS)
        by_audience: dict[JobId | None, list[Job]] = defaultdict(list)
        for job in jobs:
            by_audience[job.audience_id].append(job)
        audiences = self.audiences.all(awaited=True)
        findings: list[Finding] = []
        versions = 0
        for audience in audiences:
            own = by_audience[audience.audience_id]
            ref = ref_of(audience)
            infos = {info.import_id: info for info in self.versions.versions(ref)}
            versions += len(infos)
            pins = self.audiences.retained(audience.audience_id)
            findings += check_versions(audience, own, infos, expired=self.versions.expired_through(ref), pins=pins)
            # Jobs may have moved on, or begun, since the list was read: judge their present state.
            current = {i: found for i in infos if (found := self.jobs.find(i)) is not None}
            derived = [*check_snapshots(audience, infos.values(), current), *self._check_receipts(current, infos)]
            findings += [self._repaired(f, current, infos) if repair else f for f in derived]
            findings += self._check_files(audience, infos.values(), live={j.job_id for j in own if not _ended(j)})
            findings += self._check_leases(audience, repair=repair)
        findings += self.archive.run(repair=repair, deep=deep)
        findings += self._check_staging({job.job_id: job for job in jobs}, repair=repair)
        findings += self._check_foreign()
        visible = sum(audience.state != "awaited" for audience in audiences)
        return Report(audiences=visible, versions=versions, jobs=len(jobs), findings=tuple(findings))

    def _check_receipts(self, jobs: Mapping[JobId, Job], infos: Mapping[JobId, VersionInfo]) -> Iterator[Finding]:
        for job in jobs.values():
            if job.state != "READY":
                continue
            receipt = self.jobs.receipt(job.job_id)
            problem = receipt_problem(job, None if receipt is None else dict(receipt), infos[job.job_id])
            if problem is not None:
                code, message = problem
                yield Finding(severity="wrong", code=code, subject=f"job {job.job_id}", message=message, job=job.job_id)

    def _repaired(self, finding: Finding, jobs: Mapping[JobId, Job], infos: Mapping[JobId, VersionInfo]) -> Finding:
        if finding.job is None:
            return finding
        try:
            self.job_repair.repair(jobs[finding.job], infos[finding.job])
        except FatalError as exc:
            return replace(finding, message=f"{finding.message}; it cannot be repaired: {exc.message}")
        return replace(finding, repaired=True)

    def _check_files(self, audience: Audience, infos: Iterable[VersionInfo], live: set[JobId]) -> Iterator[Finding]:
        """Check that every file of every version exists; other files in the data prefix are unreferenced."""
        ref = ref_of(audience)
        bucket = self.settings.lake_bucket
        prefix = audience_prefix(audience.tenant, audience.audience_id) + "data/"
        stored = {entry.key: entry.size for entry in self.objects.list(bucket, prefix)}
        referred: set[str] = set()
        for info in infos:
            subject = f"{audience.tenant}/{audience.name} v{info.version}"
            try:
                parts = self.versions.files(ref, info.version)
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
        unknown = [k for k in stored if k not in referred and part_import(k) not in live]
        if unknown:
            size = sum(stored[key] for key in unknown)
            yield Finding(
                severity="note",
                code="UNREFERENCED_FILES",
                subject=f"{audience.tenant}/{audience.name}",
                message=f"{len(unknown)} files ({size} bytes) belong to no version; `muster audiences expire` removes "
                "them once they are old enough",
            )

    def _check_leases(self, audience: Audience, *, repair: bool) -> Iterator[Finding]:
        """Check that versions are held by running exports only."""
        ref = ref_of(audience)
        for leaseholder in sorted(self.versions.leaseholders(ref)):
            export = self.exports.find(leaseholder)
            if export is not None and (export.finished_at_ms is None or now_ms() - export.finished_at_ms < GRACE_MS):
                continue
            if repair:
                self.versions.release(ref, leaseholder)
            owner_state = f"which is {export.state}" if export is not None else "which the catalog does not know"
            yield Finding(
                severity="wrong",
                code="HELD_FOR_NOBODY",
                subject=f"{audience.tenant}/{audience.name}",
                message=f"a version is held for export {leaseholder}, {owner_state}: expiry skips it needlessly",
                repaired=repair,
            )

    def _check_staging(self, jobs: dict[JobId, Job], *, repair: bool) -> Iterator[Finding]:
        bucket = self.settings.staging_bucket
        sizes: dict[JobId, int] = {}
        for entry in self.objects.list(bucket, IMPORTS_PREFIX):
            if (owner := staged_import(entry.key)) is not None:
                sizes[owner] = sizes.get(owner, 0) + entry.size
        for owner, size in sizes.items():
            job = jobs.get(owner) or self.jobs.find(owner)
            if job is not None and (job.finished_at_ms is None or now_ms() - job.finished_at_ms < GRACE_MS):
                continue
            if repair:
                self.objects.delete_prefix(bucket, staging_prefix(owner))
            owner_state = f"which is {job.state}" if job is not None else "which the catalog does not know"
            yield Finding(
                severity="wrong",
                code="STAGED_LEFTOVER",
                subject=f"job {owner}",
                message=f"{size} bytes are staged for a job {owner_state}",
                repaired=repair,
            )

    def _check_foreign(self) -> Iterator[Finding]:
        """Objects in our buckets that Muster cannot have written. They are neither read nor removed."""
        settings = self.settings
        for bucket, is_ours in ((settings.staging_bucket, is_staging_key), (settings.lake_bucket, is_lake_key)):
            foreign = [entry.key for entry in self.objects.list(bucket) if not is_ours(entry.key)]
            if foreign:
                shown = ", ".join(repr(key[:80]) for key in foreign[:FOREIGN_SHOWN])
                yield Finding(
                    severity="note",
                    code="FOREIGN_OBJECTS",
                    subject=f"bucket {bucket}",
                    message=f"{len(foreign)} objects were not written by Muster, which ignores them: {shown}"
                    f"{', ...' if len(foreign) > FOREIGN_SHOWN else ''}",
                )


def check_versions(
    audience: Audience,
    jobs: Iterable[Job],
    infos: Mapping[JobId, VersionInfo],
    *,
    expired: int,
    pins: Set[Version],
) -> Iterator[Finding]:
    """Check that every pin has its version, and every READY job, unless that has expired (versions up to `expired`)."""
    kept = {info.version for info in infos.values()}
    for job in jobs:
        number = (job.outcome or {}).get("version")
        if job.state == "READY" and job.job_id not in infos and (number is None or number > expired):
            yield Finding(
                severity="wrong",
                code="VERSION_MISSING",
                subject=f"job {job.job_id}",
                message=f"is READY with version {number}, which {audience.tenant}/{audience.name} does not have",
            )
    for pin in sorted(pins - kept):
        yield Finding(
            severity="wrong",
            code="PINNED_VERSION_MISSING",
            subject=f"{audience.tenant}/{audience.name} v{pin}",
            message="is pinned but does not exist",
        )


def check_snapshots(audience: Audience, infos: Iterable[VersionInfo], jobs: Mapping[JobId, Job]) -> Iterator[Finding]:
    """Check that every version made by an import has its job, and that the job is READY."""
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
        elif not _ended(job):
            yield Finding(
                severity="note",
                code="PUBLISH_UNFINISHED",
                subject=subject,
                message=f"is published; job {job.job_id} is {job.state}, and becomes READY when the workflow continues",
            )
        elif job.state != "READY":
            yield Finding(
                severity="wrong",
                code="SNAPSHOT_OF_FAILED_JOB",
                subject=subject,
                message=f"was made by job {job.job_id}, which is {job.state}",
                job=job.job_id,
            )


def receipt_problem(job: Job, receipt: dict[str, object] | None, info: VersionInfo) -> tuple[str, str] | None:
    """(code, message) if the receipt or outcome of a READY job differs from the snapshot."""
    if receipt is None:
        return "RECEIPT_MISSING", f"version {info.version} is published, but the job has no receipt"
    if (fault := receipt_fault(dict(receipt))) is not None:
        return "RECEIPT_WRONG", fault
    expected = {
        "version": info.version,
        "snapshot_id": info.snapshot_id,
        "members": info.members,
        "digest": str(info.digest),
    }
    for where, record in (("receipt", receipt), ("outcome", job.outcome or {})):
        for name, value in expected.items():
            if record.get(name) != value:
                return "RECEIPT_WRONG", f"the {where} says {name} {record.get(name)}, the snapshot {value}"
    return None


def _ended(job: Job) -> bool:
    return job.state in FINAL
