"""Folders of an export by column values, in Hive's naming: `country=JP/tier=gold/`.

The columns stay in the files, so each file can be verified and imported alone, with exact values. Folder names are not
exact: null and the empty text share a folder, as in Hive, and a folder name has no type.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from schemas.columns import ColumnType
from schemas.errors import UserError

NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"
PARTITION_TYPES: Final[tuple[ColumnType, ...]] = ("string", "long", "boolean", "date")
"""Types with the same text in every tool."""
MAX_FOLDERS: Final = 1_000
MAX_FOLDER_BYTES: Final = 255
"""Limit of one name in file systems (NAME_MAX).

Four of them, with ids and prefixes, stay below S3's limit of 1,024 for a key, except for the longest values, which S3
then refuses by name.
"""
# Follows FileUtils.escapePathName of Hive, which Spark, Athena and DuckDB read. Other characters stay, also those
# beyond ASCII: Hive and Spark take each %XX for a character, not for a byte of UTF-8.
ESCAPED: Final = {code: f"%{code:02X}" for code in [*range(0x20), 0x7F, *map(ord, "\"#%'*/:=?\\{[]^")]}


class PartitionFolder(NamedTuple):
    """A folder, and the values it is named after: different values may share a name."""

    folder: str = ""
    values: tuple[object, ...] = ()


def folder(names: Sequence[str], values: Sequence[object]) -> str:
    """The folder of rows with these values: ends with a slash, or is empty if there are no columns.

    Raises `UserError` PARTITION_VALUE_TOO_LONG.
    """
    return "".join(f"{_name(name, value)}/" for name, value in zip(names, values, strict=True))


def _name(column: str, value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    name = f"{column}={text.translate(ESCAPED) or NO_VALUE}"
    if len(name.encode()) > MAX_FOLDER_BYTES:
        raise UserError(
            "PARTITION_VALUE_TOO_LONG",
            f"column {column} has a value of {len(text)} characters, which is too long for a folder name",
            column=column,
        )
    return name


def require_few_folders(folders: Collection[str]) -> None:
    """Raise `UserError` TOO_MANY_PARTITIONS if there are more than `MAX_FOLDERS`."""
    if len(folders) > MAX_FOLDERS:
        raise UserError(
            "TOO_MANY_PARTITIONS",
            f"the files would be spread over more than {MAX_FOLDERS} folders; choose columns with fewer values",
            limit=MAX_FOLDERS,
        )


def by_folder(
    batches: Iterable[pa.RecordBatch], names: Sequence[str]
) -> Iterator[tuple[PartitionFolder, pa.RecordBatch]]:
    """Cut rows that are sorted by `names` where their values change. Empty batches are dropped."""
    for batch in batches:
        if batch.num_rows == 0:
            continue
        starts = [0, *_changes(batch, names), batch.num_rows] if names else [0, batch.num_rows]
        for start, end in pairwise(starts):
            values = tuple(batch.column(name)[start].as_py() for name in names)
            yield PartitionFolder(folder(names, values), values), batch.slice(start, end - start)


def _changes(batch: pa.RecordBatch, names: Sequence[str]) -> list[int]:
    """Indexes of the rows, except the first, whose values differ from the row before."""
    other = np.zeros(batch.num_rows - 1, np.bool_)
    for name in names:
        numbers = batch.column(name).dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
        other |= numbers[1:] != numbers[:-1]
    return [int(row) + 1 for row in np.flatnonzero(other)]


def regroup(
    pieces: Iterable[tuple[PartitionFolder, pa.RecordBatch]], rows: int
) -> Iterator[tuple[PartitionFolder, pa.RecordBatch]]:
    """The same rows in batches of exactly `rows`, except the last of each folder."""
    current, count = PartitionFolder(), 0
    pending: list[pa.RecordBatch] = []
    for folder_of_batch, batch in pieces:
        if folder_of_batch != current and pending:
            yield current, _joined(pending)
            pending, count = [], 0
        current, rest = folder_of_batch, batch
        while count + rest.num_rows >= rows:
            pending.append(rest.slice(0, rows - count))
            rest = rest.slice(rows - count)
            yield current, _joined(pending)
            pending, count = [], 0
        if rest.num_rows:
            pending.append(rest)
            count += rest.num_rows
    if pending:
        yield current, _joined(pending)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
