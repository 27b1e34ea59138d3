"""Bugs in imports whose units are verified and sent side by side."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.mutation.patches import Patches


def base_seq_off_by_one(patches: Patches) -> None:
    """A unit begins one sequence number too late."""

    def make(original: Any) -> Any:
        def read(content: bytes, partitions: int) -> Any:
            base = original.__get__(None, original_class)(content, partitions)
            return replace(base, chunks=tuple(seq + 1 for seq in base.chunks))

        return staticmethod(read)

    from connectors.verification.units import UnitBase as original_class  # noqa: N813, PLC0415

    patches.replace("connectors.verification.units:UnitBase.read", make)


def accepted_rows_as_ordinals(patches: Patches) -> None:
    """Ordinals of a unit begin after the accepted rows before it, not after all."""

    def make(original: Any) -> Any:
        def bases_of(read: Sequence[Any], partitions: int) -> bytes:
            accepted = [
                replace(one, files=tuple(replace(file, rows=file.accepted) for file in one.files)) for one in read
            ]
            return bytes(original(accepted, partitions))

        return bases_of

    patches.replace("connectors.verification.units:bases_of", make)


def evidence_counted_twice(patches: Patches) -> None:
    """The evidence of a job has that of its first unit twice."""

    def make(original: Any) -> Any:
        def evidence_of(files: Any, counted: Any, read: Any, spec: Any, **more: Any) -> Any:
            more["rejects_of"] = (*more["rejects_of"], iter(()))
            return original(files, (*counted, counted[0]), (*read, read[0]), spec, **more)

        return evidence_of

    patches.replace("connectors.verification.units:evidence_of", make)


def lost_units_overlooked(patches: Patches) -> None:
    """End markers are sent although a unit has left no result."""

    def make(original: Any) -> Any:
        def read_results(of: Any, job: Any, units: int, objects: Any, bucket: str, key: Any) -> list[Any]:
            there = [n for n in range(units) if any(True for _ in objects.list(bucket, key(n)))]
            return [original(of, job, 1, objects, bucket, lambda _, n=n: key(n))[0] for n in there]

        return read_results

    def make_comparison(_: Any) -> Any:
        return lambda *_: None

    patches.replace("orchestration.kinds.units.results:read_results", make)
    patches.replace("connectors.publishing.reconciling:compare", make_comparison)


def earlier_round_counted(patches: Patches) -> None:
    """Of a range that was read again, the evidence of the first reading counts."""

    def make(original: Any) -> Any:
        def settle(units: Any, read: Any) -> Any:
            first = {of[-1]: of[0] for of in units.readings()}
            found = original(units, read)
            if not found or not hasattr(found[0], "number"):
                return found
            return tuple(replace(one, number=first.get(one.number, one.number)) for one in found)

        return settle

    patches.replace("connectors.verification.unit_rounds:settle", make)


def profiles_side_by_side(patches: Patches) -> None:
    """Changes of profiles are sent in any order."""

    def make(original: Any) -> Any:
        def spread(self: Any, job: Any, shown: str) -> bool:
            return bool(original(self, replace(job, spec=replace(job.spec, kind="events")), shown))

        return spread

    def make_gathering(original: Any) -> Any:
        def gather(job: Any, number: int, **more: Any) -> Any:
            from connectors.verification.units import CountedUnit, UnitRead, bases_of  # noqa: PLC0415
            from orchestration.kinds.units.plan import read_plan  # noqa: PLC0415
            from orchestration.kinds.units.results import read_results, store_counted  # noqa: PLC0415
            from schemas.layout import unit_bases_key, unit_key  # noqa: PLC0415

            objects, bucket = more["objects"], more["records"].settings.staging_bucket
            units = read_plan(job, objects=objects, bucket=bucket).units.all
            read = read_results(UnitRead, job, len(units), objects, bucket, lambda n: unit_key(job.job_id, n))
            counted = [CountedUnit(unit=unit, number=place) for place, unit in enumerate(units)]
            store_counted(job, counted, objects=objects, bucket=bucket)
            objects.put(bucket, unit_bases_key(job.job_id, 1), bases_of(read, job.partitions))
            return original(job, number, **more)

        return gather

    patches.replace("orchestration.kinds.records:ImportRecords._spread", make)
    patches.replace("orchestration.kinds.units.verify:gather_evidence", make_gathering)


def event_ordinals_over_the_set(patches: Patches) -> None:
    """Rows of events are numbered over all files, so that a file that was imported alone counts again."""

    def make(original: Any) -> Any:
        def placed(self: Any, batch: Any) -> Any:
            spec, self._spec = self._spec, replace(self._spec, kind="audience", columns=())
            try:
                return original(self, batch)
            finally:
                self._spec = spec

        return placed

    patches.replace("connectors.sources.file_set:FileSet._placed", make)
