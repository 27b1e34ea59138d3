"""Appends offset ranges to the table of their topic, in one optimistic commit (`optimistic`).

1. load the table, and how far it goes in each partition
2. read the footers of the files of ranges that go further
3. decide for each range, in order, whether to append it, skip it as known, or refuse it (`segmentation.archiving`); one
   with a file that does not match its name is unusable
4. stage one append snapshot (even if no range has a file), and the ends of the partitions as table properties
5. commit; the catalog accepts it only if `main` is still what step 1 loaded
6. if lost, or if the outcome is unknown: repeat from step 1, where the ends show whether step 5 succeeded

Creating a snapshot even without files keeps a stale commit from moving an end backwards.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from connectors.lake.archive_tables import (
    TOPIC_ID,
    ArchiveTables,
    archived_log,
    archived_to,
    archived_to_property,
    check_topic,
)
from connectors.lake.optimistic import Decision, Settled, Staged, commit_conflict, decide_and_commit
from schemas.activity import OFFSET
from schemas.ids import Partition
from schemas.layout import ArchiveKey, split_s3_uri
from schemas.segment_messages import ArchiveWritten
from segmentation.archiving import Verdict, verdict

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

FOOTERS_AT_ONCE: Final = 8
_DAMAGED: Final = "Couldn't deserialize thrift"
"""Arrow reports a damaged footer as an OSError with this text. Taken for an outage, it would make all tenants wait."""


Footers = dict[str, "DataFile | str"]
"""By URI: the data file to add to the table, or why it cannot be added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """The outcome of an append of ranges of one topic.

    `archived_to`: the end of each partition in the table after the commit. `verdicts`: one for each range. `unusable`:
    by index of a refused range, why it can never be appended. `files`: how many files were added.
    """

    archived_to: Mapping[Partition, int]
    verdicts: Sequence[Verdict]
    unusable: Mapping[int, str]
    files: int


def append_ranges(
    tables: ArchiveTables,
    topic: str,
    ranges: Sequence[ArchiveWritten],
    topic_id: str | None,
    sleep: Callable[[float], None],
) -> Appended:
    """Steps 1 to 6, a bounded number of times.

    Raises `RetriableError` ARCHIVE_CONFLICT, TOPIC_REPLACED, LAKE_UNAVAILABLE.
    """
    footers: Footers = {}

    def decide(table: "Table") -> Decision[Appended]:
        check_topic(table, topic, topic_id)
        ends = archived_to(table)
        _read_footers(table, [r for r in ranges if r.end_offset > ends.get(r.partition, -1)], footers)
        plan, files = _planned(ranges, ends, footers, table.location(), archived_log(table).epoch)
        if Verdict.APPEND not in plan.verdicts:
            return Settled(plan)
        transaction = table.transaction()
        with transaction.update_snapshot().merge_append() as append:
            for file in files:
                append.append_data_file(file)
        advanced = {p: end for p, end in plan.archived_to.items() if ends.get(p) != end}
        properties = {archived_to_property(topic, p): str(end) for p, end in advanced.items()}
        transaction.set_properties(properties | ({} if topic_id is None else {TOPIC_ID + topic: topic_id}))
        return Staged(transaction, plan)

    return decide_and_commit(
        lambda: tables.find_or_create(topic),
        decide,
        doing=f"archiving records of {topic}",
        conflict=commit_conflict("ARCHIVE_CONFLICT", topic=topic),
        sleep=sleep,
    )


def _planned(
    ranges: Sequence[ArchiveWritten], ends: Mapping[Partition, int], footers: Footers, location: str, log_epoch: int
) -> tuple[Appended, list["DataFile"]]:
    """Step 3: the verdicts on the ranges, and the files to add."""
    ends = dict(ends)
    verdicts: list[Verdict] = []
    unusable: dict[int, str] = {}
    added: list[DataFile] = []
    for number, written in enumerate(ranges):
        decision = verdict(written, ends.get(written.partition), log_epoch)
        if decision is Verdict.APPEND:
            if (fault := _range_fault(written, footers, location)) is None:
                ends[written.partition] = written.end_offset
                added += [file for uri in written.files if not isinstance(file := footers[uri], str)]
            else:
                unusable[number] = fault
                decision = Verdict.REFUSED
        verdicts.append(decision)
    return Appended(archived_to=ends, verdicts=verdicts, unusable=unusable, files=len(added)), added


def _range_fault(written: ArchiveWritten, footers: Footers, location: str) -> str | None:
    """Why a range cannot be appended. None if it can."""
    if written.first_offset >= written.end_offset:
        return f"the range from {written.first_offset} to {written.end_offset} is empty"
    if len(set(written.files)) < len(written.files):
        return "a file is listed twice"
    for uri in written.files:
        key = _key(uri, location)
        found = None if key is None else (key.topic, key.partition, key.first_offset, key.end_offset)
        if found != (written.topic, written.partition, written.first_offset, written.end_offset):
            return f"{uri[:500]} is not a file of this range"
        if isinstance(footer := footers[uri], str):
            return footer
    return None


def _key(uri: str, location: str) -> ArchiveKey | None:
    """The key of a file of this table. None for any other URI."""
    return ArchiveKey.parse(split_s3_uri(uri)[1]) if uri.startswith(f"{location}/") else None


def _read_footers(table: "Table", ranges: Sequence[ArchiveWritten], footers: Footers) -> None:
    """Step 2, for files whose footer is not known yet."""
    new = dict.fromkeys(uri for written in ranges for uri in written.files if uri not in footers)
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        footers.update(zip(new, pool.map(lambda uri: read_footer(table, uri), new), strict=True))


def read_footer(table: "Table", uri: str) -> "DataFile | str":
    """The table's entry for a file of the archive, or why there is none. Raises what pyiceberg raises in outages."""
    from pyiceberg.io.pyarrow import parquet_file_to_data_file

    if (key := _key(uri, table.location())) is None:
        return f"{uri[:500]} is not a file of the archive"
    try:
        file = parquet_file_to_data_file(table.io, table.metadata, uri)
    except FileNotFoundError:
        return f"{uri} does not exist"
    except (pa.ArrowInvalid, ValueError, OSError) as exc:
        if isinstance(exc, OSError) and _DAMAGED not in str(exc):
            raise
        return f"{uri} is not a file of the archive: {type(exc).__name__}: {str(exc)[:500]}"
    return _content_fault(table, key, file) or file


def _content_fault(table: "Table", key: ArchiveKey, file: "DataFile") -> str | None:
    """Why a file's content does not match its name. None if it does."""
    from pyiceberg.conversions import from_bytes
    from pyiceberg.types import LongType

    offset = table.schema().find_field(OFFSET).field_id
    bounds: list[Any] = [
        from_bytes(LongType(), by_field[offset])
        for by_field in (file.lower_bounds, file.upper_bounds)
        if offset in by_field
    ]
    if not (bounds and key.first_offset <= bounds[0] and bounds[-1] < key.end_offset):
        return f"{file.file_path} has records from offset {bounds[:1]} to {bounds[1:]}"
    if (file.partition[0], file.partition[1]) != (key.tenant, key.partition):
        return f"{file.file_path} has rows of partition {file.partition[1]} of {file.partition[0]}"
    return None
