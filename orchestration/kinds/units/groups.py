"""Plans by which the partitions of a version are built or read side by side, and what readers have found."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from connectors.storage.objects import ObjectStore
from orchestration.catalog.records import Job
from orchestration.kinds.compute_target import MEMBER_BYTES
from orchestration.kinds.records import ImportRecords
from orchestration.kinds.spread import has_groups
from orchestration.kinds.units.results import read_results, stored
from schemas.errors import FatalError
from schemas.ids import Attempt, Partition, Version
from schemas.layout import parts_key, parts_plan_key
from schemas.records import from_record
from segmentation.versions import PartsRead, PublishRequest

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsPlan:
    """The partitions of a version, in groups of consecutive ones. `base_version`: what a build merges with."""

    attempt: Attempt
    base_version: Version | None
    groups: tuple[tuple[Partition, ...], ...]


def plan_name(what: Literal["build", "check"], attempt: Attempt, *of: object) -> str:
    """The name of a plan, which follows from what it is for: a repeated step finds the same."""
    return f"{what}-{hashlib.sha256(json.dumps([attempt, *of]).encode()).hexdigest()[:16]}"


def name_of_check(request: PublishRequest) -> str:
    """The name of the plan by which the parts of a request are read again."""
    return plan_name("check", request.attempt, [part.uri for part in request.parts])


def read_plan(job: Job, name: str, records: ImportRecords, objects: ObjectStore) -> PartsPlan:
    """A plan. Raises `FatalError` UNITS_LOST."""
    if (plan := stored_plan(job, name, records, objects)) is None:
        raise FatalError("UNITS_LOST", f"the groups {name} of job {job.job_id} are gone", job=job.job_id)
    return plan


def stored_plan(job: Job, name: str, records: ImportRecords, objects: ObjectStore) -> PartsPlan | None:
    """A plan. None if there is none."""
    record = stored(objects, records.settings.staging_bucket, parts_plan_key(job.job_id, name))
    return None if record is None else from_record(PartsPlan, record)


def is_large(request: PublishRequest, records: ImportRecords) -> bool:
    """Whether the parts of a request are read side by side, if there are several."""
    return has_groups(records.settings, MEMBER_BYTES * request.members)


def read_side_by_side(
    job: Job, request: PublishRequest, *, records: ImportRecords, objects: ObjectStore
) -> Sequence[PartsRead]:
    """What groups have found in the parts of a request; nothing if they were not, or not all, read so."""
    if not is_large(request, records):
        return ()
    name = name_of_check(request)
    if (plan := stored_plan(job, name, records, objects)) is None:
        return ()
    try:
        return read_results(
            PartsRead,
            job,
            len(plan.groups),
            objects,
            records.settings.staging_bucket,
            lambda number: parts_key(job.job_id, name, number),
        )
    except FatalError as exc:
        _log.warning("the parts of %s are read again: %s", job.job_id, exc)
        return ()
