"""BuildVersion, for a snapshot: the members that every partition has written down become parts in the lake."""

import logging
from datetime import timedelta
from typing import Any, Final

from connectors.lake.cut_parts import parts_of_cut
from connectors.verification.evidence import Evidence
from orchestration.catalog.records import Job
from orchestration.catalog.references import audience_ref
from orchestration.context import Context
from orchestration.kinds.materialised import part_record, parts_of
from orchestration.kinds.segment_meaning import meaning_of, outside_of
from orchestration.kinds.snapshot.ask import asked_of, segment_of
from orchestration.kinds.snapshot.cuts import cut_completion_of, places
from orchestration.kinds.stage_reports import StageReport
from orchestration.kinds.view import View, view
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, UserError
from schemas.ids import JobId
from segmentation.completion import Complete
from segmentation.cuts import CUT_ROWS, members_of
from segmentation.expressions.literals import EPOCH
from segmentation.versions import SegmentRule

_log: Final = logging.getLogger(__name__)


def build_snapshot(context: Context, job_id: JobId) -> View:
    """AWAITING | BUILDING -> PUBLISHING, with the parts and what the cuts say of them in the catalog.

    What they say is the evidence that the version is held against, from here on as for any import.
    """
    _, job = context.jobs.move(job_id, "BUILDING", now_ms=now_ms(), only_from={"AWAITING"})
    if job.state != "BUILDING":
        return view(context, job)
    found = cut_completion_of(context, job)
    if not isinstance(found, Complete):
        raise FatalError("NOT_COMPLETE", f"job {job.job_id} is {job.state}, but {found}", job=job.job_id)
    report = StageReport(context.progress, job_id, "build", total=0, unit="rows", place=context.settings.place)
    audience, asked, cuts = audience_ref(job), asked_of(job), places(context, job)
    parts = parts_of_cut(
        parts_of(found),
        import_id=job.job_id,
        attempt=found.attempt,
        s3=context.s3,
        limits=context.duck_limits,
        data_prefix=context.data_prefix(audience.tenant, audience.audience_id),
    )
    if {part.partition: part.digest for part in parts} != {
        m.partition: m.digest for m in found.partitions if m.records
    }:
        raise FatalError("PART_MISMATCH", f"the parts of job {job.job_id} are not what its cuts say", job=job.job_id)
    report.finish(rows=sum(part.rows for part in parts))
    rule = SegmentRule(
        segment=segment_of(job),
        rule_version=asked["rule_version"],
        rule_hash=asked["rule_hash"],
        as_of=EPOCH + timedelta(microseconds=max(cut["at_us"] for cut in cuts)),
    )
    record = {
        "asked": dict(asked),
        "attempt": found.attempt,
        "base_version": None,
        "parts": [part_record(part) for part in parts],
        "columns": CUT_ROWS.as_record(),
        "counts": None,
        "rule": rule.as_record(),
        "cuts": cuts,
        "outside": _outside(context, job),
    }
    _, job = context.jobs.move(
        job_id,
        "PUBLISHING",
        now_ms=now_ms(),
        cause=f"{sum(part.rows for part in parts)} members as of {rule.as_of.isoformat()}",
        only_from={"BUILDING"},
        build=record,
        evidence=_evidence(found).as_record(),
    )
    return view(context, job)


def _outside(context: Context, job: Job) -> list[dict[str, Any]] | None:
    """Members of the rule's audiences of whom nothing is archived by now; none where they cannot be counted.

    It is a note in the receipt: that the catalog has changed meanwhile, or memory is short, is no fault of the job.
    """
    try:
        segment = context.segments.get(job.tenant, segment_of(job))
        rule = context.segments.versions(segment.segment_id)[asked_of(job)["rule_version"] - 1].parsed
        return [one.as_record() for one in outside_of(context, job.tenant, meaning_of(context, job.tenant, rule))]
    except UserError as exc:
        _log.warning("who is outside of the snapshot of %s was not counted: %s", job.segment, exc)
        return None


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
