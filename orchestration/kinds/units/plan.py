"""PlanUnits: cut a large import into units, once, before the first is read; afterwards, name those to be read again.

The plan and its rounds stay as they were first written, whatever the settings become, so a unit that runs again reads
the same files.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

from connectors.sources.file_set import complete_spec
from connectors.sources.limits import ParseLimits
from connectors.sources.row_groups import row_groups_of
from connectors.sources.units import Unit, cut
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import Source, SourceFiles
from connectors.verification.ranges import ranges_of
from connectors.verification.unit_rounds import Reading, Round, Units
from connectors.verification.verifier import published_rejects
from orchestration.catalog.records import Job
from orchestration.kinds.compute_target import FILE_BYTES
from orchestration.kinds.file_sets import source_of
from orchestration.kinds.records import ImportRecords, View
from orchestration.kinds.spread import unit_bytes_of
from orchestration.kinds.units.items import Work, for_workflow
from orchestration.kinds.units.results import stored
from orchestration.kinds.verify import kept_rejects
from schemas.errors import FatalError
from schemas.ids import JobId
from schemas.import_spec import ImportSpec
from schemas.layout import unit_items_key, unit_plan_key, unit_round_key
from schemas.records import as_record, from_record


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPlan:
    """The units of a job, with those that are read again, and the complete spec by which all are read."""

    units: Units
    spec: ImportSpec


def files_of(job: Job, *, objects: ObjectStore, bucket: str) -> SourceFiles:
    """The files of a job, of one, too. Raises as `source_of`."""
    source = source_of(job, objects=objects, bucket=bucket)
    return source if isinstance(source, tuple) else (source,)


def plan_units(job: Job, *, records: ImportRecords, objects: ObjectStore, limits: ParseLimits) -> View:
    """While VERIFYING: the view with where the workflow reads the units, or those that are read again.

    It says nothing of units if there is only one. Raises `UserError` if the columns of a file are at fault; its rejects
    are written all the same.
    """
    view = records.view(job)
    if job.state != "VERIFYING" or not view["spread"]:
        return view
    if job.task_token is not None:  # it was admitted: the token needs no more answers
        records.jobs.put(job.job_id, task_token=None)
    staging = records.settings.staging_bucket
    files = files_of(job, objects=objects, bucket=staging)
    plan = _stored(job.job_id, objects, staging)
    if plan is None:
        plan = _made(job, files, records=records, objects=objects, limits=limits)
        if plan is None:
            return view | {"spread": False}
    if not plan.units.rounds:
        records.report(job.job_id, "verify", total=sum(file.size for file in files), unit="bytes")
    every, newest, rounds = plan.units.all, plan.units.newest, len(plan.units.rounds)
    key = unit_items_key(job.job_id, rounds)
    numbered = ((number, every[number]) for number in newest)
    where = units_for_workflow(numbered, key, files, records=records, objects=objects)
    return view | {"units": where | {"round": rounds}}


def units_for_workflow(
    numbered: Iterable[tuple[int, Unit]], key: str, files: SourceFiles, *, records: ImportRecords, objects: ObjectStore
) -> dict[str, Any]:
    """Store units of files for the workflow. Returns where it reads them, as `items.for_workflow`."""
    works = (
        Work(number=number, bytes=unit.bytes(files) + FILE_BYTES * (unit.files - 1), times=("verify_s", "import_s"))
        for number, unit in numbered
    )
    return for_workflow(works, key, records=records, objects=objects)


def read_plan(job: Job, *, objects: ObjectStore, bucket: str) -> UnitPlan:
    """The plan of a job. `bucket`: the staging bucket. Raises `FatalError` UNITS_LOST."""
    plan = _stored(job.job_id, objects, bucket)
    if plan is None:
        raise FatalError("UNITS_LOST", f"the stored units of job {job.job_id} are gone", job=job.job_id)
    return plan


def add_round(job: Job, number: int, readings: Round, *, objects: ObjectStore, bucket: str) -> None:
    """Store what is read again in the round of that number, unless it is stored."""
    content = json.dumps([as_record(reading) for reading in readings]).encode()
    objects.put_if_absent(bucket, unit_round_key(job.job_id, number), content)


def _made(
    job: Job, files: SourceFiles, *, records: ImportRecords, objects: ObjectStore, limits: ParseLimits
) -> UnitPlan | None:
    """The plan that was stored first; None if there is only one unit."""
    settings, spec = records.settings, job.spec
    unit_bytes = unit_bytes_of(settings, sum(file.size for file in files))
    units = cut(
        files,
        unit_bytes,
        lambda file: row_groups_of(file, objects, spec, limits),
        lambda file: ranges_of(file, spec, store=objects, limits=limits, unit_bytes=unit_bytes),
    )
    if len(units) == 1:
        return None
    if spec.other_columns:
        source: Source = files if len(files) > 1 else files[0]
        with kept_rejects(job, objects=objects, bucket=settings.lake_bucket) as rejects, published_rejects(rejects):
            spec = complete_spec(source, spec, limits, objects, keep=rejects.write)
    content = json.dumps({"units": [as_record(unit) for unit in units], "spec": spec.as_record()}).encode()
    objects.put_if_absent(settings.staging_bucket, unit_plan_key(job.job_id), content)
    return read_plan(job, objects=objects, bucket=settings.staging_bucket)


def _stored(job_id: JobId, objects: ObjectStore, bucket: str) -> UnitPlan | None:
    record = stored(objects, bucket, unit_plan_key(job_id))
    if record is None:
        return None
    units = tuple(from_record(Unit, unit) for unit in record["units"])
    spec = ImportSpec.from_record(record["spec"])
    rounds: list[Round] = []
    if any(unit.part is not None for unit in units):  # no others are read again
        for number in count(1):
            readings = stored(objects, bucket, unit_round_key(job_id, number))
            if readings is None:
                break
            rounds.append(tuple(from_record(Reading, reading) for reading in readings))
    return UnitPlan(units=Units(planned=units, rounds=tuple(rounds)), spec=spec)
