"""PublishVersion: reconcile verification = Kafka = parts, then one Iceberg commit, then the catalog.

1. AWAITING -> PUBLISHING (BuildVersion has done it already): from here nobody can cancel, and the job only rolls
   forward, unless it is refused in 2.
2. The publish itself: every part re-read, guards, one commit (`segmentation.versions.VersionStore.publish`).
3. The receipt, derived from the snapshot; the audience stands, with the columns that it has now; then READY. Or
   SUPERSEDED.
A repeat after a crash between 2 and 3 finds its own import id in a snapshot and goes on with 3.
"""

from datetime import UTC, datetime

from orchestration.catalog.records import Job, JobError
from orchestration.catalog.references import audience_ref
from orchestration.context import Context
from orchestration.kinds.materialised import complete, part_from_record, parts_of
from orchestration.kinds.receipts import make_receipt, outcome_of
from orchestration.kinds.specs import keep_spec
from orchestration.kinds.stage_reports import StageReport
from orchestration.kinds.stored import settle
from orchestration.kinds.view import View, view
from orchestration.platform.clock import now_ms
from schemas.columns import RowSchema
from schemas.errors import FatalError, UserError
from schemas.ids import Attempt, JobId
from segmentation.completion import Complete
from segmentation.publishing import version_before
from segmentation.versions import (
    AlreadyPublished,
    BaseMoved,
    MembershipCounts,
    Published,
    PublishRequest,
    SegmentRule,
    SupersededBy,
)


def publish(context: Context, job_id: JobId) -> View:
    """PUBLISHING -> READY | SUPERSEDED, or back to BUILDING when the base has moved."""
    if context.jobs.get(job_id).kind != "audience":
        return settle(context, job_id)
    _, job = context.jobs.move(job_id, "PUBLISHING", now_ms=now_ms(), only_from={"AWAITING"})  # 1
    if job.state != "PUBLISHING":
        return view(context, job)
    found = complete(context, job)
    request = _request(job, found)
    rows, place = sum(part.rows for part in request.parts), context.settings.place
    report = StageReport(context.progress, job_id, "publish", total=rows, unit="rows", place=place)
    try:
        context.audiences.check_publishable(audience_ref(job).audience_id)
        outcome = context.versions.publish(request, lambda read: report.update(done=read, rows=read))  # 2
    except (UserError, FatalError) as exc:  # refused before the commit: there is no version
        _, job = context.jobs.fail(job_id, JobError.of(exc), now_ms=now_ms(), uncommitted=True)
        return view(context, job)
    report.finish(rows=rows)
    match outcome:
        case Published() | AlreadyPublished():
            info = context.versions.version(audience_ref(job), outcome.version)
            found = complete(context, job, attempt=info.attempt)  # a later attempt may have become whole meanwhile
            finished = now_ms()
            before = version_before(context.versions.versions(audience_ref(job)), info)
            context.jobs.put_receipt(job_id, make_receipt(job, found, info, before, finished_at_ms=finished))  # 3
            keep_spec(context, job)
            _, job = context.jobs.move(
                job_id,
                "READY",
                now_ms=finished,
                cause=f"version {outcome.version}, {outcome.members} members",
                outcome=outcome_of(info),
            )
        case SupersededBy():
            _, job = context.jobs.move(
                job_id,
                "SUPERSEDED",
                now_ms=now_ms(),
                cause=f"version {outcome.version} of the newer import {outcome.import_id} is published",
                outcome={"superseded_by": outcome.import_id, "version": outcome.version},
            )
        case BaseMoved():
            _, job = context.jobs.move(
                job_id,
                "BUILDING",
                now_ms=now_ms(),
                cause=f"the base moved to version {outcome.current_version}",
                only_from={"PUBLISHING"},
                expecting={"build": job.build},  # not when another publisher has built and tried again since
            )
    return view(context, job)


def _request(job: Job, found: Complete) -> PublishRequest:
    build = job.build
    return PublishRequest(
        audience=audience_ref(job),
        import_id=job.job_id,
        attempt=found.attempt if build is None else Attempt(build["attempt"]),
        mode=job.mode,
        order_key=job.order_key,
        parts=parts_of(found) if build is None else tuple(part_from_record(r) for r in build["parts"]),
        partitions=job.partitions,
        row_schema=job.spec.row_schema if build is None else RowSchema.from_record(build["columns"]),
        base_version=None if build is None else build["base_version"],
        counts=None if build is None or build["counts"] is None else MembershipCounts(**build["counts"]),
        max_shrink_percent=job.spec.max_shrink_percent,
        published_at=datetime.now(UTC),
        rule=None if build is None or "rule" not in build else SegmentRule.from_record(build["rule"]),
        drop_columns=frozenset(job.spec.drop_columns),
        retype_columns=frozenset(job.spec.retype_columns),
    )
