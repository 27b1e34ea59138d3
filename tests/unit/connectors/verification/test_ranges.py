import gzip
import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.sources.chaining import first_ranges
from connectors.sources.limits import ParseLimits
from connectors.sources.ranges import FileRange, RangeSource, read_exactly
from connectors.storage.pinned import SourceObject
from connectors.verification.evidence import Evidence
from connectors.verification.ranges import TooManyLikelyRejectsError, can_be_cut, verify_ranges, verify_side_by_side
from connectors.verification.rejects_file import ParquetRejects
from connectors.verification.verifier import verify_file
from schemas.columns import Column
from schemas.errors import FatalError, UserError
from schemas.import_spec import ImportSpec
from tests.unit.connectors.verification.test_verifier import Bucket

SPEC = ImportSpec(
    id_column="user_id",
    columns=(Column(name="note", type="string"), Column(name="n", type="long")),
    max_reject_share=1.0,
)
NOTES = ("", "plain", "a, b", 'say "hi"', "two\nlines", "windows\r\nlines", "x" * 300)
Outcome = tuple[Evidence | UserError, list[list[dict[str, object]]]]


def csv_file(rows: int = 4_000) -> bytes:
    chance = random.Random(3)
    lines = ["user_id,note,n"]
    for row in range(rows):
        note = chance.choice(NOTES).replace('"', '""')
        lines.append(f'u{row},"{note}",{"odd" if row % 50 == 7 else row}')
    return "\n".join(lines).encode()


def verified(path: Path, spec: ImportSpec, cuts: Sequence[int] | None) -> Outcome:
    bucket = Bucket()
    shared: dict[str, Any] = {"partitions": 3, "limits": ParseLimits(), "on_progress": lambda _: None}
    found: Evidence | UserError
    with ParquetRejects(path.parent / "rejects.parquet", bucket.upload) as rejects:
        try:
            if cuts is None:
                found = verify_file(path, spec, rejects=rejects, **shared)
            else:
                ranges = first_ranges(cuts, path.stat().st_size)
                found = verify_ranges(path, ranges, spec, rejects=rejects, at_once=2, **shared)
        except UserError as exc:
            found = exc
    return found, [bucket.rows()] if bucket.content else []


def assert_same(path: Path, spec: ImportSpec, ranges: int) -> Outcome:
    size = path.stat().st_size
    (one, rejects), (ranged, ranged_rejects) = (
        verified(path, spec, cuts) for cuts in (None, [size * k // ranges for k in range(1, ranges)])
    )
    if isinstance(one, UserError):
        assert isinstance(ranged, UserError)
        assert ranged.as_record() == one.as_record()
    else:
        assert ranged == one
    assert [sorted(map(str, found)) for found in ranged_rejects] == [sorted(map(str, found)) for found in rejects]
    return one, rejects


@pytest.mark.parametrize("ranges", [4, 16])
def test_csv_in_ranges_has_the_evidence_and_rejects_of_one_pass(tmp_path: Path, ranges: int) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(csv_file())
    evidence, rejects = assert_same(path, SPEC, ranges)
    assert isinstance(evidence, Evidence)
    assert (evidence.rows, evidence.rejected, len(rejects[0])) == (4_000, 80, 80)


def test_json_lines_in_ranges_have_the_evidence_and_rejects_of_one_pass(tmp_path: Path) -> None:
    path = tmp_path / "users.jsonl"
    lines = [b'{"user_id":"u%d","note":"x","n":%d}' % (k, k) if k % 9 else b"{" for k in range(3_000)]
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    evidence, _ = assert_same(path, SPEC, 5)
    assert isinstance(evidence, Evidence)
    assert evidence.rejected == 334


def test_column_that_no_range_of_json_lines_has_is_missing_as_in_one_pass(tmp_path: Path) -> None:
    path = tmp_path / "users.jsonl"
    path.write_bytes(b"".join(b'{"user_id":"u%d","Note":"x"}\n' % k for k in range(500)))
    found, _ = assert_same(path, SPEC, 4)
    assert isinstance(found, UserError)
    assert found.code == "MISSING_COLUMN"
    assert "500" in found.message


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (b'\nu1,"open,1\n', "UNCLOSED_QUOTE"),
        (b"\nn,note,user_id\n", "SECOND_HEADER"),
        (b"\n,x,1\n", "TOO_MANY_REJECTS"),
    ],
)
def test_fault_of_the_file_is_that_of_one_pass_with_its_line(tmp_path: Path, damage: bytes, code: str) -> None:
    path = tmp_path / "users.csv"
    content = b"".join(b"u%d,plain,%d\n" % (k, k) for k in range(4_000))
    path.write_bytes(b"user_id,note,n\n" + content[:60_000].rpartition(b"\n")[0] + damage + content[60_000:])
    found, _ = assert_same(path, replace(SPEC, max_reject_share=0.0), 6)
    assert isinstance(found, UserError)
    assert found.code == code


def test_semicolons_and_a_header_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(csv_file(500).replace(b",", b";").replace(b"a; b", b"a, b"))
    evidence, _ = assert_same(path, replace(SPEC, delimiter=";"), 4)
    assert isinstance(evidence, Evidence)
    refused, _ = assert_same(path, SPEC, 4)
    assert isinstance(refused, UserError)
    assert refused.code == "MISSING_COLUMN"


def test_only_plain_text_in_utf_8_can_be_cut() -> None:
    assert can_be_cut("a.csv", b"user_id\n", SPEC)
    assert can_be_cut("a.jsonl", b"{}", replace(SPEC, encoding="cp932"))
    for name, start, encoding in [
        ("a.csv", b"\x1f\x8b\x08", "utf-8"),
        ("a.csv", b"PAR1", "utf-8"),
        ("a.csv", b"PK\x03\x04", "utf-8"),
        ("a.csv", b"user_id\n", "cp932"),
        ("a.csv", b"user_id\n", "utf-16"),
    ]:
        assert not can_be_cut(name, start, replace(SPEC, encoding=encoding))  # type: ignore[arg-type]


class Store:
    """One object, whose ranges are noted as they are asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[tuple[int, int]] = []

    def stream(self, _: object, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        end = len(self.content) if end is None else end
        self.asked.append((start, end))
        for at in range(start, end, 1000):
            yield self.content[at : min(at + 1000, end)]

    def read_range(self, _: object, start: int, length: int) -> bytes:
        return self.content[start : start + length]


def pinned(size: int) -> SourceObject:
    written = datetime(2026, 1, 1, tzinfo=UTC)
    return SourceObject(bucket="b", key="users.csv", version_id=None, etag="e", size=size, last_modified=written)


def test_large_object_is_read_in_ranges_if_there_are_processors_and_as_one_otherwise(tmp_path: Path) -> None:
    content = csv_file(30_000)
    size = len(content)
    found: list[object] = []
    asked: list[list[tuple[int, int]]] = []
    for at_once, limits in ((1, ParseLimits()), (2, ParseLimits()), (2, ParseLimits(max_decoded_bytes=size - 1))):
        store: Any = Store(content)
        with ParquetRejects(tmp_path / "rejects.parquet", Bucket().upload) as rejects:
            try:
                evidence = verify_side_by_side(
                    pinned(size),
                    SPEC,
                    store=store,
                    unit_bytes=size // 3,
                    at_once=at_once,
                    on_files=lambda _: None,
                    partitions=3,
                    limits=limits,
                    rejects=rejects,
                    on_progress=lambda _: None,
                )
            except UserError as exc:
                found.append(exc.code)
            else:
                found.append(evidence)
        asked.append(store.asked)
    assert found[0] == found[1]
    assert found[2] == "FILE_TOO_LARGE"
    assert asked[0] == asked[2] == [(0, size)]
    assert len(asked[1]) > 4


def test_more_likely_rejects_than_are_kept_end_the_ranges_without_a_reject(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(csv_file(4_000))
    ranges = first_ranges([60_000, 120_000], path.stat().st_size)
    bucket = Bucket()
    with (
        ParquetRejects(tmp_path / "rejects.parquet", bucket.upload) as rejects,
        pytest.raises(TooManyLikelyRejectsError),
    ):
        verify_ranges(
            path,
            ranges,
            SPEC,
            partitions=3,
            limits=ParseLimits(),
            rejects=rejects,
            on_progress=lambda _: None,
            at_once=2,
            most_likely_rejects=79,
        )
    assert bucket.content == []


def test_range_of_a_file_that_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(gzip.compress(csv_file(100)))
    with pytest.raises(FatalError) as error:
        verified(path, SPEC, [100])
    assert error.value.code == "BAD_RANGE"


def test_object_that_ends_within_a_range_is_an_error() -> None:
    content = csv_file(100)
    part = FileRange(begin=50, end=900, size=len(content), exact=True, bounded=False)
    source = RangeSource(io.BytesIO(content[50:1000]), part)
    with pytest.raises(FatalError) as error:
        read_exactly(source, len(content))
    assert error.value.code == "BYTES_LOST"
