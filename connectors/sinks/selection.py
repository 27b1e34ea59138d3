"""Select the rows of an export: a whole version, or its added and removed rows since another one. As our own SQL."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from connectors.lake.audience_sql import differs, rows_sql
from schemas.columns import USER_ID, RowSchema
from schemas.errors import UserError
from schemas.manifest import Change
from schemas.sql_text import identifier
from segmentation.versions import Part, VersionInfo

ItemT = TypeVar("ItemT")
DELTA: Final = "_delta"
"""Table of (new, old) pairs of rows where one is missing or values differ."""
MEMORY_PARTS: Final = 2
"""Rows of a slice take at most half of the memory: one side is built into a hash table, and reading needs the rest."""
DECOMPRESSION_FACTOR: Final = 4
"""Bytes in memory per byte of Parquet with Zstandard, roughly."""
ROW_BYTES: Final = 16
"""Minimum bytes of a value in DuckDB's rows; a text takes this many besides its characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedVersion:
    """A version and its files."""

    info: VersionInfo
    parts: tuple[Part, ...]

    @property
    def uris(self) -> list[str]:
        """URIs of all files."""
        return [part.uri for part in self.parts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A query for rows that are written to separate files, sorted by `key`: names of its columns."""

    rows: str
    change: Change | None = None
    parameters: tuple[object, ...] = ()
    key: tuple[str, ...] = (USER_ID,)

    @property
    def sql(self) -> str:
        """The query for the sorted rows. `parameters` are the values of its `?`."""
        return f"{self.rows} ORDER BY {', '.join(map(identifier, self.key))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Files of a version that are read together: each user is in one group only.

    `base` (None: a whole version) are the files of the base that may hold the same users.
    """

    number: int
    parts: tuple[Part, ...]
    base: tuple[Part, ...] | None = None

    @property
    def bytes(self) -> int:
        """Bytes of all files that are read."""
        return sum(part.bytes for part in self.parts + (self.base or ()))

    @property
    def expected_rows(self) -> int:
        """Rows that will be written; for a delta, an upper bound."""
        return sum(part.rows for part in self.parts + (self.base or ()))

    def preparation(self, schema: RowSchema, memory_bytes: int) -> list[str]:
        """SQL to run before `selections` on the same connection: both selections of a delta come from one join.

        Users are joined in slices that each fit into part of the memory: DuckDB fails on a full join that does not fit
        into memory, even if it may spill to disk.
        """
        if self.base is None:
            return []
        changed = [f"n.{USER_ID} IS NULL OR o.{USER_ID} IS NULL"]
        changed += [differs(column, "n", "o") for column in schema.columns]
        slices = max(1, -(-self._bytes_in_memory(schema) * MEMORY_PARTS // memory_bytes))
        statements = []
        for number in range(slices):
            new, old = (
                f"SELECT * FROM ({rows_sql([part.uri for part in parts], schema)}) "  # noqa: S608  # files are quoted
                f"WHERE hash({USER_ID}) % {slices} = {number}"
                for parts in (self.parts, self.base)
            )
            statements.append(
                f"{'INSERT INTO' if number else 'CREATE TEMP TABLE'} {DELTA} {'' if number else 'AS '}"  # noqa: S608
                f"SELECT {_side('n', schema)}, {_side('o', schema)} FROM ({new}) n FULL JOIN ({old}) o "
                f"ON n.{USER_ID} = o.{USER_ID} WHERE {' OR '.join(changed)}"
            )
        return statements

    def _bytes_in_memory(self, schema: RowSchema) -> int:
        """Memory for all rows that are read, estimated."""
        return max(self.bytes * DECOMPRESSION_FACTOR, self.expected_rows * ROW_BYTES * len(schema.names))

    def selections(self, schema: RowSchema) -> list[Selection]:
        """The selected rows: those of `parts`, or those only in `parts` (added) and those only in `base` (removed).

        A changed member is in both.
        """
        if self.base is None:
            return [Selection(rows=rows_sql([part.uri for part in self.parts], schema))]
        return [
            Selection(rows=_of_side("n", schema), change="added"),
            Selection(rows=_of_side("o", schema), change="removed"),
        ]


def full_groups(version: PinnedVersion, *, group_bytes: int) -> list[Group]:
    """Groups of adjacent files with at most `group_bytes` in total, for a whole version."""
    return [
        Group(number=number, parts=tuple(parts))
        for number, parts in enumerate(_bundled(version.parts, lambda part: part.bytes, group_bytes))
    ]


def delta_groups(version: PinnedVersion, base: PinnedVersion, *, group_bytes: int) -> list[Group]:
    """Groups by partition if both versions were partitioned alike, else one group of all files."""
    new, old = _by_partition(version), _by_partition(base)
    if new is None or old is None or not same_partitioning(version.info, base.info):
        return [Group(number=0, parts=version.parts, base=base.parts)]
    pairs = [(new.get(partition, ()), old.get(partition, ())) for partition in range(version.info.partitions)]
    return [
        Group(
            number=number,
            parts=tuple(part for parts, _ in bundle for part in parts),
            base=tuple(part for _, parts in bundle for part in parts),
        )
        for number, bundle in enumerate(
            _bundled(pairs, lambda pair: sum(part.bytes for parts in pair for part in parts), group_bytes)
        )
    ]


def same_partitioning(left: VersionInfo, right: VersionInfo) -> bool:
    """True if both versions place each user in the partition of the same number."""
    return (left.partitions, left.partitioner) == (right.partitions, right.partitioner)


def parts_with_same_users(parts: Sequence[Part], version: PinnedVersion, other: PinnedVersion) -> tuple[Part, ...]:
    """The files of `other`, possibly of another audience, that may hold users of `parts`, files of `version`."""
    partitions = {part.partition for part in parts}
    if None in partitions or not same_partitioning(version.info, other.info):
        return other.parts
    return tuple(part for part in other.parts if part.partition is None or part.partition in partitions)


def _by_partition(version: PinnedVersion) -> dict[int, tuple[Part, ...]] | None:
    """The files by partition; None if any file spans several partitions."""
    found: dict[int, tuple[Part, ...]] = {}
    for part in version.parts:
        if part.partition is None:
            return None
        found[part.partition] = (*found.get(part.partition, ()), part)
    return found


def _bundled(items: Iterable[ItemT], size: Callable[[ItemT], int], limit: int) -> Iterator[list[ItemT]]:
    """Bundle adjacent items while their sizes add up to at most `limit`; a larger item is alone."""
    bundle: list[ItemT] = []
    total = 0
    for item in items:
        if bundle and total + size(item) > limit:
            yield bundle
            bundle, total = [], 0
        bundle.append(item)
        total += size(item)
    if bundle:
        yield bundle


def common_schema(version: PinnedVersion, base: PinnedVersion) -> RowSchema:
    """The columns of both versions. Raises `UserError` SCHEMA_MISMATCH if they differ."""
    if base.info.row_schema != version.info.row_schema:
        raise UserError(
            "SCHEMA_MISMATCH",
            f"versions {base.info.version} and {version.info.version} have different columns and cannot be compared",
            version=version.info.version,
            base=base.info.version,
        )
    return version.info.row_schema


def _side(table: str, schema: RowSchema) -> str:
    """Columns of one side of a join, under prefixed names."""
    return ", ".join(f"{table}.{identifier(name)} AS {identifier(f'{table}_{name}')}" for name in schema.names)


def _of_side(table: str, schema: RowSchema) -> str:
    names = ", ".join(f"{identifier(f'{table}_{name}')} AS {identifier(name)}" for name in schema.names)
    return f"SELECT {names} FROM {DELTA} WHERE {table}_{USER_ID} IS NOT NULL"  # noqa: S608  # names are quoted
