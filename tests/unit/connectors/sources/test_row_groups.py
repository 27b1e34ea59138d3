"""Parquet files that are read by row groups, from sparse copies: the rows, ordinals and digests of one pass."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.sources.chaining import first_ranges
from connectors.sources.file_set import DigestedSet, FileSet
from connectors.sources.limits import ParseLimits
from connectors.sources.ranges import FileRange, RowGroup
from connectors.sources.rejects import RejectBatch
from connectors.sources.row_groups import row_groups_of
from connectors.sources.units import Unit, about, cut
from connectors.storage.pinned import SourceObject
from schemas.columns import Column
from schemas.digest import Digest
from schemas.errors import FatalError, UserError
from schemas.import_spec import ImportSpec
from tests.hostile.parquet_bytes import footer_of, varint, with_footer

ROWS, GROUP = 5_000, 700
SPEC = ImportSpec(
    id_column="user_id",
    columns=(Column(name="n", type="long"), Column(name="at", type="timestamp")),
    max_reject_share=1.0,
    timezone="UTC",
)


class Store:
    """One object; `read`: how many of its bytes were asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.read = 0

    def stream(self, _: object, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        content = self.content[start:end]
        self.read += len(content)
        yield content

    def read_range(self, _: object, start: int, length: int) -> bytes:
        return self.content[start : start + length]


def source(content: bytes) -> SourceObject:
    return SourceObject(
        bucket="b",
        key="users.parquet",
        version_id=None,
        etag="e",
        size=len(content),
        last_modified=datetime(2026, 1, 1, tzinfo=UTC),
    )


def parquet() -> bytes:
    ids = [f"u{k}" if k % 97 else "" for k in range(ROWS)]
    times = pa.array(
        (np.arange(ROWS) + 1_700_000_000) * 1_000_000_000 + (np.arange(ROWS) % 50 == 3), pa.timestamp("ns", "UTC")
    )
    table = pa.table({"user_id": ids, "n": np.arange(ROWS), "at": times, "unused": ["x" * 50] * ROWS})
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=GROUP, use_deprecated_int96_timestamps=True, use_dictionary=False)
    return out.getvalue()


CONTENT = parquet()


def units(content: bytes, unit_bytes: int) -> tuple[Unit, ...]:
    store: Any = Store(content)
    return cut([source(content)], unit_bytes, lambda file: row_groups_of(file, store, SPEC, ParseLimits()))


def rows_of(unit: Unit | None, kind: str = "audience", before: int = 0, files: int = 1) -> tuple[list[Any], list[Any]]:
    store: Any = Store(CONTENT)
    spec = SPEC if kind == "audience" else EVENTS
    rows: list[Any] = []
    rejects: list[Any] = []
    with FileSet((source(CONTENT),) * files, spec, ParseLimits(), store, None, unit=unit, rows_before=before) as parsed:
        for found in parsed:
            if isinstance(found, RejectBatch):
                rejects += [(one.file, one.ordinal, one.code) for one in found.rejects()]
            else:
                rows += [tuple(row.values()) for row in found.to_pylist()]
    return rows, rejects


EVENTS = ImportSpec(
    kind="events",
    mode="append",
    id_column="user_id",
    columns=(
        Column(name="event", type="string", source="unused"),
        Column(name="occurred_at", type="timestamp", source="at"),
    ),
    max_reject_share=1.0,
    timezone="UTC",
)


@pytest.mark.parametrize("unit_bytes", [1, len(CONTENT) // 3])
def test_row_groups_have_the_rows_ordinals_and_digests_of_the_file(unit_bytes: int) -> None:
    whole, rejects = rows_of(None)
    rejects = [(None, ordinal, code) for _, ordinal, code in rejects]  # a range of the only file names none
    found, found_rejects = [], []
    cuts = units(CONTENT, unit_bytes)
    assert len(cuts) == (8 if unit_bytes == 1 else 4)
    for unit in cuts:
        assert unit.end is not None
        rows, more = rows_of(unit, before=unit.begin * GROUP)
        found += rows
        found_rejects += more
    assert (found, found_rejects) == (whole, rejects)
    assert (len(found), len(found_rejects)) == (ROWS - 151, 151)
    store: Any = Store(CONTENT)
    digests = []
    for part in (None, *cuts):
        with DigestedSet((source(CONTENT),), SPEC, ParseLimits(), store, None, partitions=2, unit=part) as digested:
            assert sum(1 for _ in digested) > 0
            digests.append((digested.digests, digested.summary.source_bytes))
    schema_id = SPEC.row_schema.schema_id
    sums = tuple(Digest.total(schema_id, of) for of in zip(*(one for one, _ in digests[1:]), strict=True))
    assert (sums, sum(size for _, size in digests[1:])) == digests[0]


def test_members_count_over_the_set_and_events_in_their_file() -> None:
    unit = Unit(first=1, begin=2, end=3, size=1)
    members, _ = rows_of(unit, before=ROWS + 2 * GROUP, files=2)
    events, rejects = rows_of(unit, "events", before=ROWS + 2 * GROUP, files=2)
    assert members[0][:2] == (ROWS + 2 * GROUP, f"u{2 * GROUP}")
    assert events[0][0] == 2 * GROUP
    assert {ordinal // GROUP for _, ordinal, _ in rejects} == {2}


def test_unit_reads_its_row_groups_alone() -> None:
    store: Any = Store(CONTENT)
    with FileSet(
        (source(CONTENT),), SPEC, ParseLimits(), store, None, unit=Unit(first=0, begin=3, end=4, size=1)
    ) as parsed:
        assert sum(found.num_rows for found in parsed) == GROUP
    assert store.read < len(CONTENT) // 3


def test_only_a_sound_footer_is_cut_by() -> None:
    store: Any = Store(CONTENT)
    groups = row_groups_of(source(CONTENT), store, SPEC, ParseLimits())
    assert [group.rows for group in groups] == [GROUP] * 7 + [ROWS - 7 * GROUP]
    assert all(one.end <= other.begin for one, other in pairwise(groups))
    damaged = with_footer(CONTENT, b"\xff" * 8 + footer_of(CONTENT)[8:])
    longer = CONTENT[:-8] + (2**31).to_bytes(4, "little") + b"PAR1"
    for content in (b"", b"PAR1", b"user_id\n" * 9, CONTENT[:-1], damaged, longer):
        assert units(content, 1) == (Unit(first=0),)


def test_footer_that_claims_a_row_group_of_8_gb_is_refused_as_by_one_pass() -> None:
    size = pq.read_metadata(io.BytesIO(CONTENT)).row_group(0).total_byte_size
    footer = footer_of(CONTENT).replace(varint(size), varint(8 << 30), 1)
    content = with_footer(CONTENT, footer)
    assert pq.read_metadata(io.BytesIO(content)).row_group(0).total_byte_size == 8 << 30
    assert units(content, 1) == (Unit(first=0),)
    store: Any = Store(content)
    for unit in (None, Unit(first=0, begin=0, end=1)):
        with (
            pytest.raises((UserError, FatalError)) as error,
            FileSet((source(content),), SPEC, ParseLimits(), store, None, unit=unit) as parsed,
        ):
            list(parsed)
        assert error.value.code == ("COMPRESSION_BOMB" if unit is None else "BAD_RANGE")


def test_file_without_such_row_groups_is_an_error() -> None:
    store: Any = Store(CONTENT)
    with (
        pytest.raises(FatalError) as error,
        FileSet((source(CONTENT),), SPEC, ParseLimits(), store, None, unit=Unit(first=0, begin=8, end=9)) as parsed,
    ):
        list(parsed)
    assert error.value.code == "BAD_RANGE"


def test_files_are_cut_only_beyond_the_size_of_a_unit() -> None:
    groups = [RowGroup(rows=1, begin=4 + 30 * k, end=34 + 30 * k) for k in range(4)]
    sizes = [replace(source(b"x"), size=size) for size in (10, 130, 20, 90)]
    asked: list[int] = []

    def groups_of(file: SourceObject) -> list[RowGroup]:
        asked.append(file.size)
        return groups

    assert cut(sizes, 100, groups_of) == (
        Unit(first=0),
        Unit(first=1, begin=0, end=3, size=90),
        Unit(first=1, begin=3, end=4, size=30),
        Unit(first=2),
        Unit(first=3),
    )
    assert asked == [130]


@pytest.mark.parametrize("ranges", [False, True], ids=["whole", "in ranges"])
@pytest.mark.parametrize(("files", "each"), [(1, 99), (1, 1000), (7, 30), (200, 33), (3, 100), (4, 101), (2, 450)])
def test_units_of_equal_files_are_counted_without_cutting_them(files: int, each: int, *, ranges: bool) -> None:
    def parts_of(file: SourceObject) -> tuple[FileRange, ...]:
        parts = -(-file.size // 100)
        return first_ranges([file.size * k // parts for k in range(1, parts)], file.size) if ranges else ()

    sources = [replace(source(b"x"), size=each)] * files
    units = cut(sources, 100, parts_of=parts_of)
    largest = max(unit.bytes(sources) for unit in units)
    assert about(files * each, files, 100, ranges=ranges) == (len(units), largest)
