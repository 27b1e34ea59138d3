"""Parquet by row groups: what the footer of a file lists, and sparse copies that have some of its groups.

The footer is parsed by a confined child, as the file is, from a copy that has nothing else. What it says is not
believed: it decides only which bytes are copied, each at most once, and the child that reads them checks the rest.
"""

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Final

from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import ParsedFile
from connectors.sources.ranges import RowGroup
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceObject
from schemas.errors import UserError
from schemas.import_formats import IMPORT_FORMATS
from schemas.import_spec import ImportSpec

MAGIC: Final = IMPORT_FORMATS["parquet"].magic
TAIL_BYTES: Final = 8
"""Length of the footer, and the magic bytes again."""
FOOTER_MAX_BYTES: Final = 256 * 1024 * 1024
PADDING_BYTES: Final = 128
"""Old writers miscounted the size of a column by up to 100 bytes (PARQUET-816), so readers read more."""


class SparseCopy:
    """`FileBytes` of a Parquet file of which only some row groups are there, besides its footer.

    `size` is what it has of the file: over all copies of a file, the size of the file.
    """

    part = None

    def __init__(
        self, source: SourceObject, store: ObjectStore, groups: Sequence[RowGroup] = (), begin: int = 0, end: int = 0
    ) -> None:
        self.name = source.key.rpartition("/")[2]
        self.modified_us = int(source.last_modified.timestamp() * 1_000_000)
        self.groups = (begin, end)
        taken = groups[begin:end]
        self.size = sum(group.end - group.begin for group in taken)
        if not begin:
            self.size += source.size - sum(group.end - group.begin for group in groups)
        self._source = source
        self._store = store
        self._ranges = _merged([(group.begin, min(group.end + PADDING_BYTES, source.size)) for group in taken])

    def blocks(self) -> Iterator[bytes]:
        """Not used: the file is local."""
        raise NotImplementedError

    def local_file(self) -> IO[bytes]:
        """The copy. Raises as `ObjectStore.stream` does."""
        source, store = self._source, self._store
        copy = tempfile.TemporaryFile()  # noqa: SIM115  # closed by its reader
        try:
            copy.truncate(source.size)
            copy.write(MAGIC)
            footer = source.size - TAIL_BYTES - _footer_bytes(source, store)
            for begin, end in (*self._ranges, (footer, source.size)):
                copy.seek(begin)
                for block in store.stream(source, start=begin, end=end):
                    copy.write(block)
            copy.flush()
            copy.seek(0)
        except BaseException:
            copy.close()
            raise
        return copy


def row_groups_of(
    source: SourceObject, store: ObjectStore, spec: ImportSpec, limits: ParseLimits
) -> tuple[RowGroup, ...]:
    """The row groups of a file; none if it is no Parquet file that can be read by them. Raises `RetriableError`."""
    if source.size < 2 * TAIL_BYTES or store.read_range(source, 0, len(MAGIC)) != MAGIC:
        return ()
    try:
        with ParsedFile(SparseCopy(source, store), spec, limits, None, footer=True) as parsed:
            for _ in parsed:
                pass
    except UserError as exc:
        if exc.code in {"SOURCE_CHANGED", "SOURCE_GONE"}:
            raise
        return ()  # whoever reads it as one says why
    end = len(MAGIC)
    for group in parsed.groups:
        if group.rows < 0 or not end <= group.begin <= group.end <= source.size - TAIL_BYTES:
            return ()  # out of order or overlapping: copies by groups could have any part of it many times
        end = group.end
    return parsed.groups


def _footer_bytes(source: SourceObject, store: ObjectStore) -> int:
    tail = store.read_range(source, source.size - TAIL_BYTES, TAIL_BYTES)
    size = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or size > min(FOOTER_MAX_BYTES, source.size - TAIL_BYTES - len(MAGIC)):
        raise UserError("CORRUPT_FILE", "the Parquet file has no footer at its end")
    return size


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending ranges, those that touch as one."""
    merged: list[tuple[int, int]] = []
    for begin, end in ranges:
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif begin < end:
            merged.append((begin, end))
    return merged
