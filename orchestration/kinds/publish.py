"""PublishVersion: reconcile verification = Kafka = parts, then make one Iceberg commit, then update the catalog.

1. AWAITING -> PUBLISHING (after BuildVersion it is so already): the job can no longer be cancelled and only rolls
   forward, unless it is refused in 2.
2. Publish: re-read every part that was not read side by side (`kinds.parts`), apply the guards, commit once
   (`segmentation.versions.VersionStore.publish`).
3. Write the receipt, derived from the snapshot, and the spec of the audience with its current columns; then READY, or
   SUPERSEDED.
After a crash between 2 and 3, a repeat finds its import id in a snapshot and continues with 3.
"""

from datetime import UTC, datetime

from connectors.storage.objects import ObjectStore
from orchestration.catalog.records import Job, JobError
from orchestration.catalog.references import audience_ref
from orchestration.kinds.builds import VersionBuild
from orchestration.kinds.materialised import parts_of, require_complete
from orchestration.kinds.receipts import make_receipt, outcome_of
from orchestration.kinds.records import ImportRecords, View
from orchestration.kinds.specs import Specs
from orchestration.kinds.units.groups import read_side_by_side
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, UserError
from schemas.ids import JobId
from segmentation.completion import Complete
from segmentation.publishing import version_before
from segmentation.versions import (
    AlreadyPublished,
    BaseMoved,
    Published,
    PublishRequest,
    SupersededBy,
    VersionStore,
)


def publish(
    job_id: JobId, *, records: ImportRecords, versions: VersionStore, specs: Specs, objects: ObjectStore
) -> View:
    """PUBLISHING -> READY | SUPERSEDED, or back to BUILDING if the base has moved."""
    _, job = records.jobs.move(job_id, "PUBLISHING", now_ms=now_ms(), only_from={"AWAITING"})  # 1
    if job.state != "PUBLISHING":
        return records.view(job)
    found = require_complete(records.progress, job)
    request = publish_request(job, found)
    rows = sum(part.rows for part in request.parts)
    report = records.report(job_id, "publish", total=rows)
    try:
        specs.audiences.check_publishable(audience_ref(job).audience_id)
        read = read_side_by_side(job, request, records=records, objects=objects)
        outcome = versions.publish(request, lambda rows: report.update(done=rows, rows=rows), read=read)  # 2
    except (UserError, FatalError) as exc:  # refused before the commit: there is no version
        _, job = records.jobs.fail(job_id, JobError.of(exc), now_ms=now_ms(), uncommitted=True)
        return records.view(job)
    report.finish(rows=rows)
    match outcome:
        case Published() | AlreadyPublished():
            info = versions.version(audience_ref(job), outcome.version)
            # A later attempt may have become complete meanwhile.
            found = require_complete(records.progress, job, attempt=info.attempt)
            finished = now_ms()
            before = version_before(versions.versions(audience_ref(job)), info)
            records.jobs.put_receipt(job_id, make_receipt(job, found, info, before, finished_at_ms=finished))  # 3
            specs.store_columns(job)
            _, job = records.jobs.move(
                job_id,
                "READY",
                now_ms=finished,
                cause=f"version {outcome.version}, {outcome.members} members",
                outcome=outcome_of(info),
            )
        case SupersededBy():
            _, job = records.jobs.move(
                job_id,
                "SUPERSEDED",
                now_ms=now_ms(),
                cause=f"version {outcome.version} of the newer import {outcome.import_id} is published",
                outcome={"superseded_by": outcome.import_id, "version": outcome.version},
            )
        case BaseMoved():
            _, job = records.jobs.move(
                job_id,
                "BUILDING",
                now_ms=now_ms(),
                cause=f"the base moved to version {outcome.current_version}",
                only_from={"PUBLISHING"},
                expecting={"build": job.build},  # not if another publisher has built again since
            )
    return records.view(job)


def publish_request(job: Job, found: Complete) -> PublishRequest:
    """What a job publishes: what it has built, or for a replace what an attempt has materialised."""
    build = VersionBuild.of(job)
    return PublishRequest(
        audience=audience_ref(job),
        import_id=job.job_id,
        attempt=found.attempt if build is None else build.attempt,
        mode=job.mode,
        order_key=job.order_key,
        parts=parts_of(found) if build is None else build.parts,
        partitions=job.partitions,
        row_schema=job.spec.row_schema if build is None else build.columns,
        base_version=None if build is None else build.base_version,
        counts=None if build is None else build.counts,
        max_shrink_percent=job.spec.max_shrink_percent,
        published_at=datetime.now(UTC),
        rule=None if build is None or build.snapshot is None else build.snapshot.rule,
        drop_columns=frozenset(job.spec.drop_columns),
        retype_columns=frozenset(job.spec.retype_columns),
    )
