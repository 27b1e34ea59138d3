"""PlanUnits: cut a large import into units, once, before the first is read.

The plan stays as it was first written, whatever the settings become, so a unit that runs again reads the same files.
"""

import json
from dataclasses import dataclass
from typing import Any

from connectors.sources.file_set import complete_spec
from connectors.sources.limits import ParseLimits
from connectors.sources.row_groups import row_groups_of
from connectors.sources.units import Unit, cut
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceFiles
from connectors.verification.verifier import published_rejects
from orchestration.catalog.records import Job
from orchestration.kinds.compute_target import compute_target
from orchestration.kinds.file_sets import source_of
from orchestration.kinds.records import FILE_BYTES, ImportRecords, View
from orchestration.kinds.timeouts import timeouts
from orchestration.kinds.verify import kept_rejects
from schemas.errors import FatalError, UserError
from schemas.ids import JobId
from schemas.import_spec import ImportSpec
from schemas.layout import unit_items_key, unit_plan_key
from schemas.records import as_record, from_record


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPlan:
    """The units of a job, in order, and the complete spec by which all are read."""

    units: tuple[Unit, ...]
    spec: ImportSpec

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"units": [as_record(unit) for unit in self.units], "spec": self.spec.as_record()}


def files_of(job: Job, *, objects: ObjectStore, bucket: str) -> SourceFiles:
    """The files of a job, of one, too. Raises as `source_of`."""
    source = source_of(job, objects=objects, bucket=bucket)
    return source if isinstance(source, tuple) else (source,)


def plan_units(job: Job, *, records: ImportRecords, objects: ObjectStore, limits: ParseLimits) -> View:
    """While VERIFYING: the view with where the workflow reads the units, if there are several.

    Raises `UserError` if the columns of a file are at fault; its rejects are written all the same.
    """
    view = records.view(job)
    if job.state != "VERIFYING" or not view["spread"]:
        return view
    if job.task_token is not None:  # it was admitted: the token needs no more answers
        records.jobs.put(job.job_id, task_token=None)
    settings = records.settings
    files = files_of(job, objects=objects, bucket=settings.staging_bucket)
    plan = _stored(job.job_id, objects, settings.staging_bucket)
    if plan is None:
        units = cut(files, settings.unit_bytes, lambda file: row_groups_of(file, objects, job.spec, limits))
        if len(units) == 1:
            return view | {"spread": False}
        spec = job.spec
        if spec.other_columns:
            bucket = settings.lake_bucket
            with kept_rejects(job, objects=objects, bucket=bucket) as rejects, published_rejects(rejects):
                spec = complete_spec(files, spec, limits, objects, keep=rejects.write)
        plan = UnitPlan(units=units, spec=spec)
        content = json.dumps(plan.as_record()).encode()
        if not objects.put_if_absent(settings.staging_bucket, unit_plan_key(job.job_id), content):
            plan = read_plan(job, objects=objects, bucket=settings.staging_bucket)
    items = json.dumps([_item(records, number, unit, files) for number, unit in enumerate(plan.units)]).encode()
    objects.put(settings.staging_bucket, unit_items_key(job.job_id), items)
    records.report(job.job_id, "verify", total=sum(file.size for file in files), unit="bytes")
    return view | {"units": units_to_read(records, job.job_id)}


def units_to_read(records: ImportRecords, job_id: JobId) -> dict[str, Any]:
    """Where the workflow reads the units of a job, and how many it takes at once."""
    settings = records.settings
    return {"bucket": settings.staging_bucket, "key": unit_items_key(job_id), "at_once": settings.units_side_by_side}


def read_plan(job: Job, *, objects: ObjectStore, bucket: str) -> UnitPlan:
    """The plan of a job. `bucket`: the staging bucket. Raises `FatalError` UNITS_LOST."""
    plan = _stored(job.job_id, objects, bucket)
    if plan is None:
        raise FatalError("UNITS_LOST", f"the stored units of job {job.job_id} are gone", job=job.job_id)
    return plan


def _stored(job_id: JobId, objects: ObjectStore, bucket: str) -> UnitPlan | None:
    try:
        record = json.loads(objects.get(bucket, unit_plan_key(job_id)))
    except UserError as exc:
        if exc.code != "SOURCE_GONE":
            raise
        return None
    units = tuple(from_record(Unit, unit) for unit in record["units"])
    return UnitPlan(units=units, spec=ImportSpec.from_record(record["spec"]))


def _item(records: ImportRecords, number: int, unit: Unit, files: SourceFiles) -> dict[str, Any]:
    """What the workflow knows of a unit. Numbers are texts: arguments of containers are."""
    size = unit.bytes(files) + FILE_BYTES * (unit.files - 1)
    place = compute_target(records.settings, size)
    seconds = timeouts(size, 0, place)
    return {
        "number": str(number),
        "place": place,
        "verify_s": seconds["verify_s"],
        "import_s": seconds["import_s"],
    }
