"""BuildVersion for a snapshot: turn the members that every partition has written into parts in the lake."""

import logging
from datetime import timedelta
from typing import Any, Final

from connectors.lake.cut_parts import cut_parts
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from connectors.verification.evidence import Evidence
from orchestration.catalog.records import Job
from orchestration.catalog.references import audience_ref
from orchestration.kinds.builds import CutAsked, SnapshotBuild, VersionBuild
from orchestration.kinds.materialised import parts_of
from orchestration.kinds.records import ImportRecords, View
from orchestration.kinds.segment_meaning import Meanings
from orchestration.kinds.snapshot.cut_requests import segment_of
from orchestration.kinds.snapshot.cuts import cut_completion_of, cut_positions
from orchestration.platform.clock import iso, now_ms
from schemas.errors import FatalError, UserError
from schemas.ids import JobId
from schemas.layout import data_prefix
from schemas.records import as_record
from segmentation.completion import Complete
from segmentation.cuts import CUT_ROWS, members_of
from segmentation.expressions.literals import EPOCH
from segmentation.versions import SegmentRule

_log: Final = logging.getLogger(__name__)


def build_snapshot(
    job_id: JobId, *, records: ImportRecords, meanings: Meanings, s3: S3Access, limits: DuckLimits
) -> View:
    """AWAITING | BUILDING -> PUBLISHING, with the parts and the cuts' counts and digests in the catalog.

    The cuts are the evidence that the version must match; from here on a snapshot is like any import.
    """
    _, job = records.jobs.move(job_id, "BUILDING", now_ms=now_ms(), only_from={"AWAITING"})
    if job.state != "BUILDING":
        return records.view(job)
    found = cut_completion_of(records.progress, job)
    if not isinstance(found, Complete):
        raise FatalError("NOT_COMPLETE", f"job {job.job_id} is {job.state}, but {found}", job=job.job_id)
    report = records.report(job_id, "build")
    audience, asked, cuts = audience_ref(job), CutAsked.of(job), cut_positions(records.progress, job)
    parts = cut_parts(
        parts_of(found),
        import_id=job.job_id,
        attempt=found.attempt,
        s3=s3,
        limits=limits,
        data_prefix=data_prefix(records.settings.lake_bucket, audience.tenant, audience.audience_id),
    )
    if {part.partition: part.digest for part in parts} != {
        m.partition: m.digest for m in found.partitions if m.records
    }:
        raise FatalError(
            "PART_MISMATCH",
            f"the parts of job {job.job_id} do not match the digests that its workers reported",
            job=job.job_id,
        )
    report.finish(rows=sum(part.rows for part in parts))
    at_us = max(cut["at_us"] for cut in cuts)
    rule = SegmentRule(
        segment=segment_of(job),
        rule_version=asked.rule_version,
        rule_hash=asked.rule_hash,
        as_of=EPOCH + timedelta(microseconds=at_us),
    )
    version_build = VersionBuild(
        attempt=found.attempt,
        base_version=None,
        parts=tuple(parts),
        columns=CUT_ROWS,
        counts=None,
        snapshot=SnapshotBuild(asked=asked, rule=rule, cuts=cuts, **_unknown_members(meanings, job)),
    )
    _, job = records.jobs.move(
        job_id,
        "PUBLISHING",
        now_ms=now_ms(),
        cause=f"{sum(part.rows for part in parts)} members as of {iso(at_us // 1000)}",
        only_from={"BUILDING"},
        build=version_build.as_record(),
        evidence=as_record(_evidence(found)),
    )
    return records.view(job)


def _unknown_members(meanings: Meanings, job: Job) -> dict[str, Any]:
    """Members of the rule's audiences without any archived activity, as `UnknownMembers`; none if not to be counted.

    This is only a note in the receipt: a changed catalog or short memory must not fail the job.
    """
    try:
        segment = meanings.segments.get(job.tenant, segment_of(job))
        rule = meanings.segments.versions(segment.segment_id)[CutAsked.of(job).rule_version - 1].parsed
        return as_record(meanings.unknown_members(job.tenant, meanings.resolve(job.tenant, rule)))
    except UserError as exc:
        _log.warning("cannot count the users outside the snapshot of %s: %s", job.segment, exc)
        return {}


def _evidence(found: Complete) -> Evidence:
    partitions = members_of(found)
    members = sum(digest.count for digest in partitions)
    return Evidence(
        rows=members,
        accepted=members,
        rejected=0,
        partitions=partitions,
        source_bytes=0,
        decoded_bytes=0,
        schema_id=CUT_ROWS.schema_id,
    )
