"""Digests that the child computes: those of exactly the rows it would have sent, or an error."""

import gzip
import json
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.confinement import PACKAGE_ROOT
from connectors.sources import fork_server, parsing
from connectors.sources.digested import open_digested
from connectors.sources.digester import WAITING_BATCH_BYTES, Digester
from connectors.sources.frames import FrameKind, FrameReader
from connectors.sources.parsing import open_parsed
from connectors.sources.rejects import Reject, RejectBatch
from schemas.arrow import arrow_schema
from schemas.digest import Digest
from schemas.errors import FatalError, UserError
from schemas.row_digest import PartitionDigests
from tests.unit.connectors.sources.reading import spec_of

SPEC = spec_of("n:long", "note")
PARTITIONS = 5
ROWS = 150_000
"""Several batches of every format."""
WAIT_S = 60


def row(k: int) -> dict[str, object]:
    """A row of the file; every 1,000th has no id, every 7,000th an invalid number, every 3rd no note."""
    return {
        "user_id": "" if k % 1000 == 3 else f"user-{k % 140_000}",
        "n": "x" if k % 7000 == 5 else str(k - 70_000),
        "note": None if k % 3 == 0 else f"é{k}",
    }


def as_csv(rows: list[dict[str, object]]) -> bytes:
    lines = ["user_id,n,note", *(f"{r['user_id']},{r['n']},{r['note'] or ''}" for r in rows)]
    return "\n".join([*lines, 'a"b,1,', "c,1"]).encode()


def as_jsonl(rows: list[dict[str, object]]) -> bytes:
    numbers = ({**r, "n": r["n"] if r["n"] == "x" else int(str(r["n"]))} for r in rows)
    return "\n".join([*(json.dumps(r) for r in numbers), "[]"]).encode()


def as_parquet(rows: list[dict[str, object]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


FORMATS = {
    "f.csv": as_csv,
    "f.csv.gz": lambda rows: gzip.compress(as_csv(rows), 1),
    "f.jsonl": as_jsonl,
    "f.parquet": as_parquet,
}


@pytest.mark.parametrize("name", FORMATS)
def test_digests_and_rejects_match_those_of_publishing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FORMATS[name]([row(k) for k in range(ROWS)]))
    of_rows = PartitionDigests(SPEC.row_schema, PARTITIONS)
    expected: list[Reject] = []
    with open_parsed(path, SPEC) as parsed:
        for found in parsed:
            if isinstance(found, RejectBatch):
                expected += found.rejects()
            else:
                of_rows.add(found)
    with open_digested(path, SPEC, partitions=PARTITIONS) as digested:
        rejects = [reject for batch in digested for reject in batch.rejects()]
    assert digested.digests == of_rows.digests()
    assert digested.summary == parsed.summary
    assert rejects == expected
    assert len(rejects) >= ROWS // 1000
    assert all(digest.count > 0 for digest in digested.digests)


def test_digests_are_unavailable_before_the_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(as_csv([row(k) for k in range(ROWS)]) + b'\n"open')
    with open_digested(path, SPEC, partitions=PARTITIONS) as digested:
        with pytest.raises(UserError, match="UNCLOSED_QUOTE"):
            list(digested)
        with pytest.raises(RuntimeError):
            _ = digested.digests


def batch(first: int, rows: int, note: str = "") -> pa.RecordBatch:
    columns = [[f"user-{k}" for k in range(first, first + rows)], [*range(rows)], [note] * rows]
    schema = arrow_schema(SPEC.row_schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def test_every_batch_is_digested_once_by_either_thread() -> None:
    batches = [batch(k * 100, 100) for k in range(200)] + [batch(0, 3, "x" * WAITING_BATCH_BYTES)]
    alone = PartitionDigests(SPEC.row_schema, PARTITIONS)
    digester = Digester(SPEC.row_schema, PARTITIONS)
    for rows in batches:
        alone.add(rows)
        digester.add(rows)
    assert digester.digests() == alone.digests()


def test_empty_file_has_empty_digests() -> None:
    assert Digester(SPEC.row_schema, 2).digests() == (Digest(schema_id=SPEC.row_schema.schema_id),) * 2


@pytest.mark.parametrize("batches", [1, 100])
def test_error_in_the_second_thread_is_raised_in_the_first(batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    here, add, failed = threading.current_thread(), PartitionDigests.add, threading.Event()

    def fail(digests: PartitionDigests, rows: pa.RecordBatch) -> None:
        if threading.current_thread() is here:
            add(digests, rows)
            failed.wait(WAIT_S)  # lets the second thread run
        else:
            failed.set()
            raise MemoryError

    def use() -> None:
        digester = Digester(SPEC.row_schema, PARTITIONS)
        for k in range(batches):
            digester.add(batch(k, 1))
            if batches == 1:
                failed.wait(WAIT_S)
        digester.digests()

    monkeypatch.setattr(PartitionDigests, "add", fail)
    with pytest.raises(MemoryError):
        use()


def test_thread_start_failure_means_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(MemoryError):
        Digester(SPEC.row_schema, PARTITIONS)


IN_THE_CHILD = """
import threading
from schemas.row_digest import PartitionDigests

second_was_here = threading.Event()

def add(digests, rows, add=PartitionDigests.add):
    if threading.active_count() == 1:  # the fork server's own rows
        add(digests, rows)
        return
    if threading.current_thread().name != "digester":
        second_was_here.wait(60)
        add(digests, rows)
        return
    second_was_here.set()
    {instead}

PartitionDigests.add = add
"""


@pytest.mark.usefixtures("new_fork_server")
@pytest.mark.parametrize(("instead", "code"), [("raise MemoryError", "PARSER_MEMORY"), ("pass", "ROWS_LOST")])
def test_batches_failed_or_dropped_by_the_second_thread_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instead: str, code: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(IN_THE_CHILD.format(instead=instead))
    there = f"{tmp_path}:{PACKAGE_ROOT}"
    monkeypatch.setitem(fork_server.PARSER_ENVIRONMENT, "PYTHONPATH", there)
    path = tmp_path / "f.csv"
    path.write_bytes(as_csv([row(k) for k in range(ROWS)]))
    with (
        open_digested(path, SPEC, partitions=PARTITIONS) as digested,
        pytest.raises((UserError, FatalError)) as caught,
    ):
        list(digested)
    assert caught.value.code == code


@pytest.mark.parametrize("content", ["user_id,n,note\n", "user_id,n,note\na,1,\n"])
def test_child_without_digests_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    class Silent(FrameReader):
        def next_frame(self, timeout_s: float) -> tuple[FrameKind, bytearray] | None:
            frame = super().next_frame(timeout_s)
            return self.next_frame(timeout_s) if frame is not None and frame[0] is FrameKind.DIGESTS else frame

    monkeypatch.setattr(parsing, "FrameReader", Silent)
    path = tmp_path / "f.csv"
    path.write_text(content)
    with (
        open_digested(path, SPEC, partitions=PARTITIONS) as digested,
        pytest.raises(FatalError, match=r"ROWS_LOST|BAD_FRAME"),
    ):
        _ = list(digested), digested.digests
