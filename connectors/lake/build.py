"""Builds the version of an append or a remove: the parts of the import, merged with the pinned base.

DuckDB merges one partition at a time, so that memory depends on the limits and not on the audience. A partition that
the import does not change keeps its base part and its file. A base with other partitions is repartitioned first.

A row of an append replaces the base's values in every column that the import has; other columns keep their value.
"""

import tempfile
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from connectors.lake.faults import lake_faults
from connectors.lake.parts import store_part, write_rows
from connectors.lake.repartition import repartition
from connectors.lake.sides import Overlap, Sides
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, batches, connect
from schemas.columns import ImportMode, RowSchema
from schemas.errors import UserError
from schemas.ids import Attempt, JobId, Partition, Version
from schemas.partitioning import PARTITIONER
from segmentation.publishing import merged_schema
from segmentation.versions import MembershipCounts, Part, VersionInfo

GROUP_ROWS: Final = 500_000
"""Rows that one query compares: a query takes some 20 ms, however few rows it reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedParts:
    """The reconciled parts of one import: at most one per partition. `drop`: columns of the base to drop."""

    import_id: JobId
    attempt: Attempt
    mode: ImportMode
    partitions: int
    row_schema: RowSchema
    parts: Sequence[Part]
    drop: Set[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseVersion:
    """The pinned version that an import is merged with, and its files (`VersionStore.files`)."""

    info: VersionInfo
    parts: Sequence[Part]

    def aligned(self, partitions: int) -> bool:
        """Whether its files are cut into this number of partitions by our partitioner."""
        return (
            self.info.partitions == partitions
            and self.info.partitioner == PARTITIONER
            and all(part.partition is not None for part in self.parts)
        )

    def as_replace(self) -> ImportedParts:
        """The replace import that would have produced this version."""
        return ImportedParts(
            import_id=self.info.import_id,
            attempt=self.info.attempt,
            mode="replace",
            partitions=self.info.partitions,
            row_schema=self.info.row_schema,
            parts=self.parts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltVersion:
    """Input of `PublishRequest`: parts, their schema, exact counts, and the base that they were built on."""

    parts: tuple[Part, ...]
    row_schema: RowSchema
    counts: MembershipCounts
    base_version: Version | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsBuilt:
    """What merging some of the partitions has made: their parts, in order, and how many users are on both sides."""

    parts: tuple[Part, ...]
    overlap: Overlap


def build_version(
    imported: ImportedParts, base: BaseVersion | None, *, s3: S3Access, limits: DuckLimits, data_prefix: str
) -> BuiltVersion:
    """Merge an append or a remove with its base. Raises as `build_parts`, and `UserError` NOTHING_TO_REMOVE_FROM."""
    if base is None:
        return _first_version(imported)
    every = [Partition(number) for number in range(imported.partitions)]
    return version_of(
        imported, base, [build_parts(imported, base, every, s3=s3, limits=limits, data_prefix=data_prefix)]
    )


def version_of(imported: ImportedParts, base: BaseVersion, built: Sequence[PartsBuilt]) -> BuiltVersion:
    """The version whose partitions were merged apart, each once, in order."""
    return BuiltVersion(
        parts=tuple(part for one in built for part in one.parts),
        row_schema=result_schema(imported, base),
        counts=_counts(imported, base, Overlap.total(one.overlap for one in built)),
        base_version=base.info.version,
    )


def build_parts(
    imported: ImportedParts,
    base: BaseVersion,
    partitions: Sequence[Partition],
    *,
    s3: S3Access,
    limits: DuckLimits,
    data_prefix: str,
) -> PartsBuilt:
    """Merge some partitions of an append or a remove with its base; all of them, if the base is not `aligned`.

    New parts are stored below `data_prefix` under content-addressed names, so a repeated build writes nothing twice.
    Raises `UserError` SCHEMA_MISMATCH; `RetriableError`, `FatalError` as the lake does.
    """
    schema = result_schema(imported, base)
    limits.temp_directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=limits.temp_directory) as scratch,
        lake_faults(f"building on version {base.info.version}"),
        connect(replace(limits, temp_directory=Path(scratch) / "duckdb"), s3) as connection,
    ):
        files = _base_files(base, imported.partitions, s3, Path(scratch))
        reusable = _reusable(base, imported.partitions, schema)
        parts: list[Part] = []
        overlaps: list[Overlap] = []
        incoming = {part.partition: part for part in imported.parts if part.rows}
        for partition in partitions:
            sides = Sides(
                incoming=[incoming[partition].uri] if partition in incoming else [],
                incoming_schema=imported.row_schema,
                base=files.get(partition, []),
                base_schema=base.info.row_schema,
            )
            overlap = sides.overlap(connection)
            overlaps.append(overlap)
            arrived = incoming[partition].rows if partition in incoming else 0
            changed = overlap.matched if imported.mode == "remove" else arrived - overlap.matched + overlap.updated
            if not changed and reusable is not None:
                parts += [reusable[partition]] if partition in reusable else []
                continue
            path = Path(scratch) / f"part-{partition}.parquet"
            query = sides.removed_sql(schema) if imported.mode == "remove" else sides.appended_sql(schema)
            digest = write_rows(batches(connection, query), schema, path)
            if digest.count:
                parts.append(
                    store_part(
                        s3,
                        path,
                        digest,
                        data_prefix=data_prefix,
                        import_id=imported.import_id,
                        attempt=imported.attempt,
                        partition=partition,
                    )
                )
            path.unlink()
    return PartsBuilt(parts=tuple(parts), overlap=Overlap.total(overlaps))


def compare(
    imported: ImportedParts, base: BaseVersion | None, *, s3: S3Access, limits: DuckLimits, attributes: bool = True
) -> MembershipCounts:
    """What publishing the import would change in the members of `base`, exactly; writes nothing to the lake.

    `attributes=False` skips counting `updated`, and so reads no attributes. Raises `UserError`
    SCHEMA_MISMATCH, NOTHING_TO_REMOVE_FROM.
    """
    if base is None:
        return _first_version(imported).counts
    if imported.mode != "replace":  # a replace merges no rows with the base
        merged_schema(base.info.row_schema, imported.row_schema)
    counts = _counts(imported, base, overlap_with(imported, base, s3=s3, limits=limits, attributes=attributes))
    return counts if attributes else replace(counts, updated=None)


def overlap_with(
    imported: ImportedParts,
    base: BaseVersion,
    partitions: Set[Partition] | None = None,
    *,
    s3: S3Access,
    limits: DuckLimits,
    attributes: bool = True,
) -> Overlap:
    """Users on both sides; of some partitions, if the base is `aligned`."""
    limits.temp_directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=limits.temp_directory) as scratch,
        lake_faults(f"comparing with version {base.info.version}"),
        connect(replace(limits, temp_directory=Path(scratch)), s3) as connection,
    ):
        return Overlap.total(
            Sides(
                incoming=incoming,
                incoming_schema=imported.row_schema,
                base=existing,
                base_schema=base.info.row_schema,
            ).overlap(connection, attributes=attributes)
            for incoming, existing in _groups(imported, base, partitions)
        )


def _groups(
    imported: ImportedParts, base: BaseVersion, partitions: Set[Partition] | None
) -> list[tuple[list[str], list[str]]]:
    """Files of both sides that are compared together: all users of some partitions, `GROUP_ROWS` if they are small."""
    if not base.aligned(imported.partitions):
        return [([part.uri for part in imported.parts if part.rows], [part.uri for part in base.parts])]
    groups: list[tuple[list[str], list[str]]] = []
    room = 0
    for number in range(imported.partitions) if partitions is None else sorted(partitions):
        incoming = [part for part in imported.parts if part.rows and part.partition == number]
        existing = [part for part in base.parts if part.partition == number]
        rows = sum(part.rows for part in (*incoming, *existing))
        if not groups or rows > room:
            groups.append(([], []))
            room = GROUP_ROWS
        room -= rows
        groups[-1][0].extend(part.uri for part in incoming)
        groups[-1][1].extend(part.uri for part in existing)
    return groups


def result_schema(imported: ImportedParts, base: BaseVersion) -> RowSchema:
    """Columns of the new version: a remove keeps those of the base, an append adds its own."""
    incoming = RowSchema() if imported.mode == "remove" else imported.row_schema
    return merged_schema(base.info.row_schema, incoming, imported.drop)


def _base_files(base: BaseVersion, partitions: int, s3: S3Access, scratch: Path) -> Mapping[Partition, list[str]]:
    if not base.aligned(partitions):
        return repartition(base.parts, base.info.row_schema, partitions, s3=s3, directory=scratch / "repartitioned")
    return {part.partition: [part.uri] for part in base.parts if part.partition is not None}


def _reusable(base: BaseVersion, partitions: int, schema: RowSchema) -> Mapping[Partition, Part] | None:
    if not base.aligned(partitions) or base.info.row_schema != schema:
        return None
    return {part.partition: part for part in base.parts if part.partition is not None}


def _first_version(imported: ImportedParts) -> BuiltVersion:
    if imported.mode == "remove":
        raise UserError("NOTHING_TO_REMOVE_FROM", "the audience has no version yet, so it has no members to remove")
    rows = sum(part.rows for part in imported.parts)
    counts = MembershipCounts(base=0, added=rows, removed=0, kept=0, members=rows)
    return BuiltVersion(parts=tuple(imported.parts), row_schema=imported.row_schema, counts=counts, base_version=None)


def _counts(imported: ImportedParts, base: BaseVersion, overlap: Overlap) -> MembershipCounts:
    before = base.info.members
    arrived = sum(part.rows for part in imported.parts)
    added = 0 if imported.mode == "remove" else arrived - overlap.matched
    removed = {"append": 0, "remove": overlap.matched, "replace": before - overlap.matched}[imported.mode]
    return MembershipCounts(
        base=before,
        added=added,
        removed=removed,
        kept=before - removed,
        members=before - removed + added,
        updated=0 if imported.mode == "remove" else overlap.updated,
        base_version=base.info.version,
    )
