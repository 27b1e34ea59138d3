"""Sorts more rows than fit in memory: splits them by ranges of ids into files, then sorts one range at a time.

Memory is bounded by one portion and one range, whatever the size of the partition; temp space equals the rows.
The range boundaries are sampled from the first rows. If they are a bad guess (such as for a file that is already
sorted), a range that became too large is split again, by ids sampled from all of it.
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
from streams import memory

RANGE_BYTES: Final = 4 * 1024 * 1024
"""Bytes of rows sorted at a time; the default staging run is four times as large. A column of a range this size is too
small for its memory to return to the system (`streams.memory`) between ranges."""
SPLIT_FACTOR: Final = 4
"""A range this many times larger than planned is split again."""
RANGES_MAX: Final = 256
"""Files open at a time."""
SAMPLES_PER_RANGE: Final = 64
PIECE_ROWS: Final = 4096
"""Rows per range that are sorted at a time while splitting. Few, so that they stay in the CPU's cache and in memory
already in use; with a quarter as many, finding and writing the pieces costs what the sort saves."""
PORTION_BYTES: Final = 8 * 1024 * 1024
"""Rows that are sorted at a time while splitting, however many ranges there are."""

Rows = Iterable[pa.Table]
Sort = Callable[[Rows], Iterator[pa.Table]]


def sorted_in_ranges(
    tables: Rows,
    size: int,
    folder: Path,
    *,
    sort_in_memory: Sort,
    sort_unsplittable: Sort,
    range_bytes: int = RANGE_BYTES,
    splitters: Sequence[bytes] | None = None,
) -> Iterator[pa.Table]:
    """Rows in byte order of their ids. `size`: their approximate bytes; `folder`: empty, for temp files.

    `sort_unsplittable` sorts a range that cannot be split further, as it has little more than one id.
    `splitters`: the ids where ranges begin, if known.
    """
    files = _cut(tables, _ranges(size, range_bytes), splitters, folder)
    memory.release_free()  # of the portions; ranges have blocks of other sizes
    for path, found in files:
        if found <= SPLIT_FACTOR * range_bytes:
            yield from sort_in_memory(_stored(path))
        elif finer := _splitters(_sample(path), _ranges(found, range_bytes)):
            inner = folder / f"{path.stem}-again"
            inner.mkdir()
            yield from sorted_in_ranges(
                *(_stored(path), found, inner),
                sort_in_memory=sort_in_memory,
                sort_unsplittable=sort_unsplittable,
                range_bytes=range_bytes,
                splitters=finer,
            )
        else:
            yield from sort_unsplittable(_stored(path))
        path.unlink()


def _ranges(size: int, range_bytes: int) -> int:
    return min(RANGES_MAX, max(2, -(-size // range_bytes)))


def _cut(tables: Rows, ranges: int, splitters: Sequence[bytes] | None, folder: Path) -> list[tuple[Path, int]]:
    """The file of each non-empty range, in order, and the bytes of its rows."""
    writers: dict[int, pa.RecordBatchFileWriter] = {}
    sizes: dict[int, int] = {}
    try:
        for rows in map(_sorted, _portions(tables, ranges * PIECE_ROWS)):
            if splitters is None:
                splitters = _splitters(_evenly_sampled(_ids(rows), ranges * SAMPLES_PER_RANGE), ranges)
            for number, piece in _pieces(rows, splitters):
                if number not in writers:
                    writers[number] = pa.ipc.new_file(_path(folder, number), piece.schema)
                    sizes[number] = 0
                writers[number].write_table(piece)
                sizes[number] += piece.nbytes
            del rows, piece  # frees memory for the next ones
    finally:
        for writer in writers.values():
            writer.close()
    return [(_path(folder, number), sizes[number]) for number in sorted(sizes)]


def _portions(tables: Rows, rows: int) -> Iterator[pa.Table]:
    """Neighbouring batches, each portion just enough for `rows` rows or `PORTION_BYTES`."""
    waiting: list[pa.RecordBatch] = []
    found = size = 0
    for batch in (batch for table in tables for batch in table.to_batches()):
        waiting.append(batch)
        found += batch.num_rows
        size += batch.nbytes
        if found >= rows or size >= PORTION_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, found, size = [], 0, 0
    if found:
        yield pa.Table.from_batches(waiting)


def _sorted(table: pa.Table) -> pa.Table:
    """The sorted rows, in one chunk."""
    combined = table.combine_chunks()
    return combined.take(pa.array(sort_strings(_ids(combined))))


def _ids(table: pa.Table) -> pa.StringArray:
    return table.column(USER_ID).chunk(0)


def _path(folder: Path, number: int) -> Path:
    return folder / f"range-{number:03d}.arrow"


def _pieces(rows: pa.Table, splitters: Sequence[bytes]) -> Iterator[tuple[int, pa.Table]]:
    """The part of sorted rows in each range, by the range's number."""
    ids = rows.column(USER_ID).chunk(0)
    numbers = range(rows.num_rows)
    cuts = [bisect_left(numbers, splitter, key=lambda k: _bytes(ids[k])) for splitter in splitters]
    for number, (first, last) in enumerate(pairwise([0, *cuts, rows.num_rows])):
        if first < last:
            yield number, rows.slice(first, last - first)


def _bytes(id_: pa.StringScalar) -> bytes:
    return bytes(id_.as_buffer())  # the bytes that the sorts compare


def _splitters(sample: pa.StringArray, ranges: int) -> list[bytes]:
    """At most `ranges` - 1 ids where a range begins, ascending. Empty if all ids of the sample are equal.

    The smallest id of the sample is not among them, so each one leaves rows on both sides.
    """
    order = sort_strings(sample)
    ids = [_bytes(sample[int(k)]) for k in order]
    return sorted({ids[len(ids) * k // ranges] for k in range(1, ranges)} - {ids[0]})


def _evenly_sampled(ids: pa.StringArray, count: int) -> pa.StringArray:
    return ids.take(pa.array(np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(np.int64)))


def _stored(path: Path) -> Iterator[pa.Table]:
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)])


def _sample(path: Path) -> pa.StringArray:
    """Ids from all parts of a file."""
    return pa.concat_arrays(
        [_evenly_sampled(table.column(USER_ID).combine_chunks(), SAMPLES_PER_RANGE) for table in _stored(path)]
    )
