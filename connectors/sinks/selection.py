"""Which rows an export takes: a whole version, or what was added and removed since another one. As SQL of ours."""

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
"""Table of the pairs of rows, new and old, of which one is missing or has another value."""
MEMORY_PARTS: Final = 2
"""The rows of a slice take at most half of the memory: one side of them is built into a table, reading needs some."""
UNPACKED: Final = 4
"""Bytes in memory for a byte of Parquet with Zstandard, about."""
ROW_BYTES: Final = 16
"""Of a value in DuckDB's rows at the least: a text has so many beside its characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedVersion:
    """A version and its files."""

    info: VersionInfo
    parts: tuple[Part, ...]

    @property
    def uris(self) -> list[str]:
        """Of all files."""
        return [part.uri for part in self.parts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A query for rows, which become files of their own, in the order of `key`: names of its columns."""

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
    """Files of a version that are read together: no user of theirs is in another group.

    `base` (none: a whole version) are the files of the base that may hold the same users.
    """

    number: int
    parts: tuple[Part, ...]
    base: tuple[Part, ...] | None = None

    @property
    def bytes(self) -> int:
        """Of all files that are read."""
        return sum(part.bytes for part in self.parts + (self.base or ()))

    @property
    def expected_rows(self) -> int:
        """Rows that will be written; of a delta, at most."""
        return sum(part.rows for part in self.parts + (self.base or ()))

    def preparation(self, schema: RowSchema, memory_bytes: int) -> list[str]:
        """SQL to be run before `selections` on the same connection: of a delta, both come out of one join.

        The users are joined in slices, each of which fits into a part of the memory: DuckDB gives up on a full join
        whose rows do not, even where it may use the disk.
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
        """Of all rows that are read, about."""
        return max(self.bytes * UNPACKED, self.expected_rows * ROW_BYTES * len(schema.names))

    def selections(self, schema: RowSchema) -> list[Selection]:
        """The rows that are wanted: those of `parts`, or those that only they (added) and only `base` (removed) have.

        A changed member is in both.
        """
        if self.base is None:
            return [Selection(rows=rows_sql([part.uri for part in self.parts], schema))]
        return [
            Selection(rows=_of_side("n", schema), change="added"),
            Selection(rows=_of_side("o", schema), change="removed"),
        ]


def whole_groups(version: PinnedVersion, *, group_bytes: int) -> list[Group]:
    """The members: neighbouring files together as long as they have no more than `group_bytes`."""
    return [
        Group(number=number, parts=tuple(parts))
        for number, parts in enumerate(_bundled(version.parts, lambda part: part.bytes, group_bytes))
    ]


def delta_groups(version: PinnedVersion, base: PinnedVersion, *, group_bytes: int) -> list[Group]:
    """Partition by partition where both versions were cut alike, else one group of all files.

    Raises `UserError` SCHEMA_MISMATCH where the versions have other columns.
    """
    common_schema(version, base)
    new, old = _by_partition(version), _by_partition(base)
    if new is None or old is None or not cut_alike(version.info, base.info):
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


def cut_alike(one: VersionInfo, other: VersionInfo) -> bool:
    """Whether a user is in the partition of the same number in both."""
    return (one.partitions, one.partitioner) == (other.partitions, other.partitioner)


def of_same_users(parts: Sequence[Part], version: PinnedVersion, other: PinnedVersion) -> tuple[Part, ...]:
    """The files of another version, be it of another audience, that may hold the users of some files of a version."""
    partitions = {part.partition for part in parts}
    if None in partitions or not cut_alike(version.info, other.info):
        return other.parts
    return tuple(part for part in other.parts if part.partition is None or part.partition in partitions)


def _by_partition(version: PinnedVersion) -> dict[int, tuple[Part, ...]] | None:
    """The files by partition; none where one of them is of several."""
    found: dict[int, tuple[Part, ...]] = {}
    for part in version.parts:
        if part.partition is None:
            return None
        found[part.partition] = (*found.get(part.partition, ()), part)
    return found


def _bundled(items: Iterable[ItemT], size: Callable[[ItemT], int], limit: int) -> Iterator[list[ItemT]]:
    """Neighbours together while their sizes come to no more than `limit`; a larger one is alone."""
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
    """The columns of both. Raises `UserError` SCHEMA_MISMATCH."""
    if base.info.row_schema != version.info.row_schema:
        raise UserError(
            "SCHEMA_MISMATCH",
            f"versions {base.info.version} and {version.info.version} have different columns and cannot be compared",
            version=version.info.version,
            base=base.info.version,
        )
    return version.info.row_schema


def _side(table: str, schema: RowSchema) -> str:
    """The columns of one side of a join, under names of their own."""
    return ", ".join(f"{table}.{identifier(name)} AS {identifier(f'{table}_{name}')}" for name in schema.names)


def _of_side(table: str, schema: RowSchema) -> str:
    names = ", ".join(f"{identifier(f'{table}_{name}')} AS {identifier(name)}" for name in schema.names)
    return f"SELECT {names} FROM {DELTA} WHERE {table}_{USER_ID} IS NOT NULL"  # noqa: S608  # names are quoted
