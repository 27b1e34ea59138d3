"""PlanParts, BuildPart, GatherParts and CheckPart: partitions of a large version, built and read again side by side.

An append or a remove is merged with its base group by group, and GatherParts makes one build of all. Parts are read
again group by group before they are published; PublishVersion takes what the groups have found, and reads the rest
itself. So a lost result costs time, and a group that runs twice changes nothing: the first result stands.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connectors.lake.build import BaseVersion, PartsBuilt, build_parts, version_of
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from connectors.storage.objects import ObjectStore
from orchestration.catalog.records import Job
from orchestration.catalog.references import audience_ref
from orchestration.kinds.build import base_of, has_built, imported_parts, parts_prefix
from orchestration.kinds.compute_target import COMPARED, MEMBER_BYTES
from orchestration.kinds.failures import error_record
from orchestration.kinds.materialised import require_complete
from orchestration.kinds.publish import publish_request
from orchestration.kinds.records import ImportRecords, View
from orchestration.kinds.spread import groups_of
from orchestration.kinds.units.groups import PartsPlan, is_large, name_of_check, plan_name, read_plan, stored_plan
from orchestration.kinds.units.items import Work, for_workflow
from orchestration.kinds.units.results import has_result, raise_first_fault, read_results, store_result
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, UserError
from schemas.ids import Partition
from schemas.layout import parts_items_key, parts_key, parts_plan_key
from schemas.messages import JobState
from schemas.records import as_record
from segmentation.versions import Part, VersionStore

_STAGES: Final = {"BUILDING": "build", "PUBLISHING": "publish"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBuilt:
    """What building a group has made, or its fault."""

    built: PartsBuilt | None = None
    error: dict[str, Any] | None = None


def plan_parts(job: Job, *, records: ImportRecords, versions: VersionStore, objects: ObjectStore) -> View:
    """AWAITING -> BUILDING | PUBLISHING, and in these two: the view with where the workflow reads the groups.

    `spread` is False if there is one group, or if all partitions have to be taken together.
    """
    after: JobState = "PUBLISHING" if job.mode == "replace" else "BUILDING"
    _, job = records.jobs.move(job.job_id, after, now_ms=now_ms(), only_from={"AWAITING"})
    view = records.view(job)
    if job.state not in {"BUILDING", "PUBLISHING"} or not view["spread"]:
        return view
    found, base_version = require_complete(records.progress, job), None
    if job.state == "BUILDING":
        imported, current = imported_parts(job, found), versions.current(audience_ref(job))
        if current is None or not (base := base_of(job, current, versions)).aligned(job.partitions):
            return view | {"spread": False}
        base_version, parts = current.version, (*imported.parts, *base.parts)
        name, attempt, compared = plan_name("build", found.attempt, base_version), found.attempt, 0
    else:
        request = publish_request(job, found)
        if not is_large(request, records):
            return view | {"spread": False}
        parts, attempt, name = request.parts, request.attempt, name_of_check(request)
        compared = records.jobs.last_members(audience_ref(job).audience_id) if job.mode == "replace" else 0
    rows = [compared // job.partitions // COMPARED for _ in range(job.partitions)]
    for part in parts:
        if part.partition is not None:
            rows[part.partition] += part.rows
    plan = stored_plan(job, name, records, objects)
    if plan is None:
        groups = groups_of(records.settings, rows)
        if len(groups) == 1:
            return view | {"spread": False}
        plan = PartsPlan(attempt=attempt, base_version=base_version, groups=groups)
        content = json.dumps(as_record(plan)).encode()
        if not objects.put_if_absent(records.settings.staging_bucket, parts_plan_key(job.job_id, name), content):
            plan = read_plan(job, name, records, objects)
    works = (_work(number, sum(rows[one] for one in group)) for number, group in enumerate(plan.groups))
    where = for_workflow(works, parts_items_key(job.job_id, name), records=records, objects=objects)
    records.report(job.job_id, _STAGES[job.state], total=sum(part.rows for part in parts))
    return view | {"plan": name, "units": where}


def build_group(
    job: Job,
    number: int,
    name: str,
    *,
    records: ImportRecords,
    versions: VersionStore,
    objects: ObjectStore,
    s3: S3Access,
    limits: DuckLimits,
) -> None:
    """Merge a group while the job is BUILDING. Its faults are stored; raises only `RetriableError`."""
    staging, key = records.settings.staging_bucket, parts_key(job.job_id, name, number)
    if job.state != "BUILDING" or has_result(objects, staging, key):
        return
    plan = read_plan(job, name, records, objects)
    try:
        imported = imported_parts(job, require_complete(records.progress, job, attempt=plan.attempt))
        base = _base(job, plan, versions)
        rows = _rows_of(plan.groups[number], (*imported.parts, *base.parts))
        report = records.report(job.job_id, "build", total=rows, number=number)
        built = build_parts(
            imported, base, plan.groups[number], s3=s3, limits=limits, data_prefix=parts_prefix(job, records)
        )
        result = GroupBuilt(built=built)
    except (UserError, FatalError) as exc:
        store_result(GroupBuilt(error=exc.as_record()), objects, staging, key)
        return
    stored = store_result(result, objects, staging, key)
    report.end_unit(rows=sum(part.rows for part in built.parts), counted=not stored)


def give_up(
    job: Job, number: int, name: str, failure: Mapping[str, Any], *, records: ImportRecords, objects: ObjectStore
) -> None:
    """Store why building a group was given up, unless it has ended. PublishVersion reads what was not read."""
    if job.state == "BUILDING":
        key = parts_key(job.job_id, name, number)
        store_result(GroupBuilt(error=error_record(failure)), objects, records.settings.staging_bucket, key)


def gather_parts(job: Job, name: str, *, records: ImportRecords, versions: VersionStore, objects: ObjectStore) -> View:
    """BUILDING -> PUBLISHING, as `kinds.build`, by what the groups have made. Raises the first fault in order.

    If the base is no longer current, nothing of it counts: the view leads to another plan.
    """
    if job.state != "BUILDING":
        return records.view(job)
    plan, current = read_plan(job, name, records, objects), versions.current(audience_ref(job))
    if current is None or current.version != plan.base_version:
        return records.view(job)
    groups = read_results(
        GroupBuilt,
        job,
        len(plan.groups),
        objects,
        records.settings.staging_bucket,
        lambda number: parts_key(job.job_id, name, number),
    )
    raise_first_fault(groups)
    imported = imported_parts(job, require_complete(records.progress, job, attempt=plan.attempt))
    built = version_of(
        imported,
        BaseVersion(info=current, parts=()),
        [one.built for one in groups if one.built is not None],
    )
    report = records.report(job.job_id, "build", total=sum(part.rows for part in imported.parts) + current.members)
    report.finish(rows=sum(part.rows for part in built.parts))
    return has_built(job, plan.attempt, built, records=records)


def check_group(
    job: Job,
    number: int,
    name: str,
    *,
    records: ImportRecords,
    versions: VersionStore,
    objects: ObjectStore,
) -> None:
    """Read the parts of a group again while the job is PUBLISHING. Raises only `RetriableError`.

    A part that is not as announced leaves no result: PublishVersion finds it so, if there is still a version to make.
    """
    staging, key = records.settings.staging_bucket, parts_key(job.job_id, name, number)
    if job.state != "PUBLISHING" or has_result(objects, staging, key):
        return
    plan = read_plan(job, name, records, objects)
    request = publish_request(job, require_complete(records.progress, job, attempt=plan.attempt))
    rows = _rows_of(plan.groups[number], request.parts)
    report = records.report(job.job_id, "publish", total=rows, number=number)
    try:
        read = versions.read_parts(request, frozenset(plan.groups[number]))
    except (UserError, FatalError) as exc:
        _log.error("group %d of %s: %s", number, job.job_id, exc)
        return
    stored = store_result(read, objects, staging, key)
    report.end_unit(rows=rows, counted=not stored)


def _work(number: int, rows: int) -> Work:
    return Work(number=number, bytes=MEMBER_BYTES * rows, members=rows, times=("build_s", "publish_s"))


def _rows_of(group: Sequence[Partition], parts: Sequence[Part]) -> int:
    return sum(part.rows for part in parts if part.partition in group)


def _base(job: Job, plan: PartsPlan, versions: VersionStore) -> BaseVersion:
    if plan.base_version is None:
        raise FatalError("UNITS_LOST", f"the plan of job {job.job_id} has no base", job=job.job_id)
    return base_of(job, versions.version(audience_ref(job), plan.base_version), versions)
