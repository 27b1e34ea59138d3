"""Merges small neighbouring files of the archive: the same rows, in the same order, in fewer files.

1. list the live files; enough small neighbours of one tenant and partition form a group
2. write the rows of each group, file after file, as one file under a name that was never used before
3. reload the table; leave out groups with a file that is not live any more
4. commit the exchange of all groups as one snapshot, which the catalog accepts only if `main` is still what step 3
   loaded
5. if lost, or if the outcome is unknown: repeat from step 3, where a live file of ours shows that step 4 succeeded

A concurrent append does not interfere: it adds behind the last group. Replaced files stay readable for a grace period
(`archive_upkeep`).
"""

import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from connectors.lake.archive_commit import read_footer
from connectors.lake.archive_reading import archived_rows
from connectors.lake.archive_tables import ArchivedFile, ArchiveTables, live_files
from connectors.lake.faults import lake_faults
from connectors.lake.optimistic import Decision, Settled, Staged, commit_conflict, decide_and_commit
from connectors.storage.access import S3Access
from connectors.storage.writing import put_file
from schemas.errors import FatalError
from schemas.layout import s3_uri
from segmentation.archiving import ARCHIVE_SCHEMAS, archive_writer

if TYPE_CHECKING:
    from pyiceberg.table import Table

MIB: Final = 1024 * 1024
MIN_FAN_IN: Final = 8
"""Fewest neighbours worth a new file. Smaller groups stay: a reader then opens only a few small files."""
SMALL_BYTES: Final = (MIB, 8 * MIB)
"""Files below the first size are merged with each other; if there are no such groups, files below the second size are
merged with all smaller ones. Files of 8 MiB or more are not touched again, so no row is rewritten more than a few
times."""
MERGED_BYTES: Final = 64 * MIB
"""Largest group. More than `MIN_FAN_IN` files of the largest small size, so no group is cut below `MIN_FAN_IN`."""
ROW_GROUP_ROWS: Final = 262_144
ROW_GROUP_BYTES: Final = 64 * MIB
"""Limits of a row group; the bytes are in memory. Larger groups repeat their users more often; smaller ones let a rule
about the last days skip more of a file."""
AT_ONCE_BYTES: Final = 512 * MIB
"""Total of all groups of one commit: some tens of seconds of work, repeated after a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """Number of files before and after compaction."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merged:
    group: Sequence[ArchivedFile]
    uri: str


def merge_groups(files: Iterable[ArchivedFile]) -> list[Sequence[ArchivedFile]]:
    """Step 1: groups of files to merge into one each, largest group first. `files` are in the order of `live_files`."""
    groups: list[Sequence[ArchivedFile]] = []
    for _, neighbours in groupby(files, lambda file: (file.key.tenant, file.key.partition)):
        of_partition = list(neighbours)
        found = [list(_runs(of_partition, limit)) for limit in SMALL_BYTES]
        groups += next((groups_of_size for groups_of_size in found if groups_of_size), [])
    return sorted(groups, key=len, reverse=True)


def _runs(files: Sequence[ArchivedFile], limit: int) -> Iterator[Sequence[ArchivedFile]]:
    """Runs of at least `MIN_FAN_IN` neighbours below a size, together at most `MERGED_BYTES`."""
    for small, neighbours in groupby(files, lambda file: file.bytes < limit):
        group: list[ArchivedFile] = []
        for file in neighbours if small else ():
            if sum(f.bytes for f in group) + file.bytes > MERGED_BYTES:
                yield group
                group = []
            group.append(file)
        if len(group) >= MIN_FAN_IN:
            yield group


def compact(
    tables: ArchiveTables, s3: S3Access, topic: str, *, temp_directory: Path, sleep: Callable[[float], None]
) -> Compacted:
    """Steps 1 to 5, up to `AT_ONCE_BYTES`. Groups that cannot be merged are skipped; raises only if none can be merged.

    Raises `FatalError` LAKE_MISMATCH if the rows of a file do not match the table, LAKE_FILE_MISSING; `RetriableError`
    ARCHIVE_CONFLICT, LAKE_UNAVAILABLE.
    """
    with lake_faults(f"looking for small files of {topic}"):
        groups = merge_groups(file for file, _ in live_files(tables.find(topic)))
    merged: list[_Merged] = []
    fault: FatalError | None = None
    temp_directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=temp_directory) as scratch, lake_faults(f"merging small files of {topic}"):
        for group in groups:
            if sum(file.bytes for one in merged for file in one.group) < AT_ONCE_BYTES:
                try:
                    merged.append(_merge(s3, tables.bucket, topic, group, Path(scratch) / "merged.parquet"))  # 2
                except FatalError as exc:
                    fault = fault or exc
    if fault is not None and not merged:
        raise fault
    return _exchange(tables, topic, merged, sleep)


def _merge(s3: S3Access, bucket: str, topic: str, group: Sequence[ArchivedFile], path: Path) -> _Merged:
    written = 0
    with archive_writer(str(path), topic, large=True) as writer:
        for rows in _row_groups(rows for file in group for rows in archived_rows(s3, file, ARCHIVE_SCHEMAS[topic])):
            writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
            written += rows.num_rows
    if written != (listed := sum(file.rows for file in group)):
        raise FatalError(
            "LAKE_MISMATCH", f"{group[0].uri} to {group[-1].uri} have {written} rows, but the table lists {listed}"
        )
    # A new name each time: garbage collection could remove an old object with the same name as unreferenced just before
    # the commit.
    key = replace(group[0].key, end_offset=group[-1].key.end_offset, content_hash=secrets.token_hex(16))
    put_file(s3.client(), bucket, str(key), path)
    return _Merged(group=group, uri=s3_uri(bucket, str(key)))


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows, as tables that each fill one row group of a file."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        while (rows := sum(b.num_rows for b in waiting)) >= ROW_GROUP_ROWS:
            together = pa.Table.from_batches(waiting)
            yield together.slice(0, ROW_GROUP_ROWS)
            waiting = together.slice(ROW_GROUP_ROWS).to_batches() if rows > ROW_GROUP_ROWS else []
        if sum(b.nbytes for b in waiting) >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _exchange(
    tables: ArchiveTables, topic: str, merged: Sequence[_Merged], sleep: Callable[[float], None]
) -> Compacted:
    """Steps 3 to 5."""
    from connectors.lake.overwriting import Overwrite  # pyiceberg is slow to import

    def decide(table: "Table | None") -> Decision[Compacted]:
        live = {file.uri: data for file, data in live_files(table)}
        done = [one for one in merged if one.uri in live]
        usable = [one for one in merged if all(file.uri in live for file in one.group)]
        if table is None or not usable:
            return Settled(_compacted(done))
        transaction = table.transaction()
        with Overwrite(transaction) as exchange:
            for one in usable:
                if isinstance(footer := read_footer(table, one.uri), str):
                    raise FatalError("LAKE_MISMATCH", footer)
                exchange.append_data_file(footer)
                for file in one.group:
                    exchange.delete_data_file(live[file.uri])
        return Staged(transaction, _compacted(done + usable))

    return decide_and_commit(
        lambda: tables.find(topic),
        decide,
        doing=f"replacing small files of {topic}",
        conflict=commit_conflict("ARCHIVE_CONFLICT", topic=topic),
        sleep=sleep,
    )


def _compacted(exchanged: Sequence[_Merged]) -> Compacted:
    return Compacted(before=sum(len(one.group) for one in exchanged), after=len(exchanged))
