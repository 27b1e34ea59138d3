"""Sorting more rows than memory should hold: cut by ranges of ids into files, then sort one range after the other.

Memory is that of one staged run and one range, whatever the size of the partition; the temp space is that of the rows.
The ids where ranges begin are drawn from the first rows. Where that was a bad guess (a file that is sorted already), a
range that became too large is cut again, by ids drawn from all of it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from schemas.columns import USER_ID
from segmentation.sorting import sort_strings

RANGE_BYTES: Final = 4 * 1024 * 1024
"""Bytes of rows that are sorted at one time: the default run of staging is four times as large. No column of so many
rows is so large that its memory goes back to the system (`orchestration.entrypoints.faust_process`) between ranges."""
TOO_LARGE: Final = 4
"""A range of so many times its planned size is cut again."""
RANGES_MAX: Final = 256
"""Files that are open at one time."""
SAMPLES_PER_RANGE: Final = 64
PIECE_ROWS: Final = 4096
"""Rows that are sorted at one time while they are cut, for each range: few, so that they stay near the processor and in
memory that has been used before; but of a quarter as many, to find and write the pieces costs what sorting saves."""

Rows = Iterable[pa.Table]
Sort = Callable[[Rows], Iterator[pa.Table]]


def sorted_in_ranges(
    tables: Rows,
    size: int,
    folder: Path,
    *,
    small: Sort,
    stubborn: Sort,
    range_bytes: int = RANGE_BYTES,
    splitters: Sequence[bytes] | None = None,
) -> Iterator[pa.Table]:
    """Rows in the order of their ids' bytes. `size`: about how many bytes they take; `folder`: empty, for temp files.

    `small` sorts a range in memory. `stubborn` sorts one that cannot be cut: hardly more than one id. `splitters`: the
    ids where ranges begin, if they are known.
    """
    for path, found in _cut(tables, _ranges(size, range_bytes), splitters, folder):
        if found <= TOO_LARGE * range_bytes:
            yield from small(_stored(path))
        elif finer := _splitters(_sample(path), _ranges(found, range_bytes)):
            inner = folder / f"{path.stem}-again"
            inner.mkdir()
            yield from sorted_in_ranges(
                *(_stored(path), found, inner),
                small=small,
                stubborn=stubborn,
                range_bytes=range_bytes,
                splitters=finer,
            )
        else:
            yield from stubborn(_stored(path))
        path.unlink()


def _ranges(size: int, range_bytes: int) -> int:
    return min(RANGES_MAX, max(2, -(-size // range_bytes)))


def _cut(tables: Rows, ranges: int, splitters: Sequence[bytes] | None, folder: Path) -> list[tuple[Path, int]]:
    """The file of each range that has rows, in order, and the bytes of its rows."""
    writers: dict[int, pa.RecordBatchFileWriter] = {}
    sizes: dict[int, int] = {}
    try:
        for rows in map(_sorted, _portions(tables, ranges * PIECE_ROWS)):
            if splitters is None:
                splitters = _splitters(_drawn(_ids(rows), ranges * SAMPLES_PER_RANGE), ranges)
            for number, piece in _pieces(rows, splitters):
                if number not in writers:
                    writers[number] = pa.ipc.new_file(_path(folder, number), piece.schema)
                    sizes[number] = 0
                writers[number].write_table(piece)
                sizes[number] += piece.nbytes
            del rows, piece  # it makes room for the next ones
    finally:
        for writer in writers.values():
            writer.close()
    return [(_path(folder, number), sizes[number]) for number in sorted(sizes)]


def _portions(tables: Rows, rows: int) -> Iterator[pa.Table]:
    """Neighbouring batches of each table, together at least so many rows where there are as many."""
    for table in tables:
        waiting: list[pa.RecordBatch] = []
        found = 0
        for batch in table.to_batches():
            waiting.append(batch)
            found += batch.num_rows
            if found >= rows:
                yield pa.Table.from_batches(waiting)
                waiting, found = [], 0
        if found:
            yield pa.Table.from_batches(waiting)


def _sorted(table: pa.Table) -> pa.Table:
    """In one chunk."""
    together = table.combine_chunks()
    return together.take(pa.array(sort_strings(_ids(together))))


def _ids(table: pa.Table) -> pa.StringArray:
    return table.column(USER_ID).chunk(0)


def _path(folder: Path, number: int) -> Path:
    return folder / f"range-{number:03d}.arrow"


def _pieces(rows: pa.Table, splitters: Sequence[bytes]) -> Iterator[tuple[int, pa.Table]]:
    """The part of sorted rows that belongs into each range, by its number."""
    ids = rows.column(USER_ID).chunk(0)
    numbers = range(rows.num_rows)
    cuts = [bisect_left(numbers, splitter, key=lambda k: _bytes(ids[k])) for splitter in splitters]
    for number, (first, last) in enumerate(pairwise([0, *cuts, rows.num_rows])):
        if first < last:
            yield number, rows.slice(first, last - first)


def _bytes(id_: pa.StringScalar) -> bytes:
    return bytes(id_.as_buffer())  # what the sorts compare


def _splitters(sample: pa.StringArray, ranges: int) -> list[bytes]:
    """At most `ranges` - 1 ids where a range begins, ascending; none where all of the sample are the same.

    The smallest id of the sample is none of them: so each of them leaves rows on both of its sides.
    """
    order = sort_strings(sample)
    ids = [_bytes(sample[int(k)]) for k in order]
    return sorted({ids[len(ids) * k // ranges] for k in range(1, ranges)} - {ids[0]})


def _drawn(ids: pa.StringArray, count: int) -> pa.StringArray:
    return ids.take(pa.array(np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(np.int64)))


def _stored(path: Path) -> Iterator[pa.Table]:
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)])


def _sample(path: Path) -> pa.StringArray:
    """Ids from all over a file."""
    return pa.concat_arrays(
        [_drawn(table.column(USER_ID).combine_chunks(), SAMPLES_PER_RANGE) for table in _stored(path)]
    )
