"""What units leave in staging for the steps after them: each writes its result once, and the first one counts."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

from connectors.storage.objects import ObjectStore
from connectors.verification.units import CountedUnit
from orchestration.catalog.records import Job
from schemas.errors import FatalError, MusterError, UserError
from schemas.layout import counted_units_key
from schemas.records import WithFields, as_record, from_record

READERS: Final = 16
"""Results that are read at once."""
ResultT = TypeVar("ResultT", bound=WithFields)


def store_result(result: WithFields, objects: ObjectStore, bucket: str, key: str) -> bool:
    """Store a result. False if there is one."""
    return objects.put_if_absent(bucket, key, json.dumps(as_record(result)).encode())


def store_counted(job: Job, counted: Sequence[CountedUnit], *, objects: ObjectStore, bucket: str) -> None:
    """Store the units that count: those that are sent, by their places in this order."""
    content = json.dumps([as_record(unit) for unit in counted]).encode()
    objects.put(bucket, counted_units_key(job.job_id), content)


def read_counted(job: Job, *, objects: ObjectStore, bucket: str) -> tuple[CountedUnit, ...]:
    """The units that count. Raises `FatalError` UNITS_LOST."""
    if (records := stored(objects, bucket, counted_units_key(job.job_id))) is None:
        lost = f"the list of the units that count of job {job.job_id} is gone"
        raise FatalError("UNITS_LOST", lost, job=job.job_id)
    return tuple(from_record(CountedUnit, record) for record in records)


def stored(objects: ObjectStore, bucket: str, key: str) -> Any:
    """The JSON data at a key. None if there is no such object."""
    try:
        return json.loads(objects.get(bucket, key))
    except UserError as exc:
        if exc.code != "SOURCE_GONE":
            raise
        return None


def has_result(objects: ObjectStore, bucket: str, key: str) -> bool:
    """Whether there is a result."""
    return any(entry.key == key for entry in objects.list(bucket, key))


def read_result(of: type[ResultT], job: Job, number: int, objects: ObjectStore, bucket: str, key: str) -> ResultT:
    """The result of a unit. Raises `FatalError` UNITS_LOST."""
    if (record := stored(objects, bucket, key)) is None:
        raise FatalError(
            "UNITS_LOST", f"unit {number} of job {job.job_id} has left no result", job=job.job_id, unit=number
        )
    return from_record(of, record)


class MayFail(Protocol):
    """A result that may be a fault."""

    @property
    def error(self) -> dict[str, Any] | None:
        """The fault, as `MusterError.as_record` gives it."""


def raise_first_fault(results: Iterable[MayFail]) -> None:
    """Raise the first fault in order, if there is one."""
    for one in results:
        if one.error is not None:
            raise MusterError.from_record(one.error)


def read_results(
    of: type[ResultT], job: Job, units: int, objects: ObjectStore, bucket: str, key: Callable[[int], str]
) -> list[ResultT]:
    """The results of all units, in order. Raises `FatalError` UNITS_LOST."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="units") as pool:
        return list(pool.map(lambda number: read_result(of, job, number, objects, bucket, key(number)), range(units)))
