"""The same rows in one file or in several: the same evidence, the same messages, the same rejects."""

import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.publishing.attempts import ActivityAttempt, ImportAttempt
from connectors.publishing.importer import publish_import
from connectors.sources.file_set import complete_spec, open_rows
from connectors.sources.limits import ParseLimits
from connectors.sources.rejects import RejectBatch
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import Source, SourceObject
from connectors.verification.evidence import Evidence
from connectors.verification.file_table import FILE_SCHEMA, upload_files
from connectors.verification.rejects_file import ParquetRejects
from connectors.verification.verifier import verify_file
from schemas.codec import CODEC
from schemas.columns import Column
from schemas.errors import UserError
from schemas.ids import Attempt, JobId, TenantName
from schemas.import_spec import ImportSpec
from schemas.messages import EventChunk
from schemas.rows import decode_rows
from tests.fakes.import_log import InMemoryTopicLog, ScriptedFence, StepWorkers, audience_attempt

LIMITS = ParseLimits()
PARTITIONS = 3
AGE = Column(name="age", type="long")
SPEC = ImportSpec(columns=(AGE,), max_reject_share=1.0)
Row = tuple[str, int | None]


class Objects:
    """Objects in memory, as far as parsing reads them."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.gone: set[str] = set()

    def add(self, key: str, content: bytes) -> SourceObject:
        self.contents[key] = content
        return SourceObject(
            bucket="lake",
            key=key,
            version_id=None,
            etag=f'"{key}"',
            size=len(content),
            last_modified=datetime(2026, 1, 1, tzinfo=UTC),
        )

    def stream(self, source: SourceObject) -> Iterator[bytes]:
        if source.key in self.gone:
            raise UserError("SOURCE_CHANGED", f"{source.uri} is no longer the object that was registered")
        yield self.contents[source.key]

    @property
    def store(self) -> ObjectStore:
        return cast("ObjectStore", self)


def as_csv(rows: Sequence[Row]) -> bytes:
    lines = [f"{user},{'' if age is None else age}" for user, age in rows]
    return "\n".join(["user_id,age", *lines, ""]).encode()


def as_json(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps({"user_id": user, "age": age}) + "\n" for user, age in rows).encode()


def as_parquet(rows: Sequence[Row]) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"user_id": [user for user, _ in rows], "age": pa.array([age for _, age in rows], pa.int64())})
    pq.write_table(table, sink)
    return sink.getvalue()


FORMATS: dict[str, Callable[[Sequence[Row]], bytes]] = {
    "csv": as_csv,
    "csv.gz": lambda rows: gzip.compress(as_csv(rows)),
    "jsonl": as_json,
    "parquet": as_parquet,
}
ROWS: list[Row] = [(f"user-{n % 700}" if n % 50 else "", n if n % 9 else None) for n in range(1_000)]


@dataclass
class Seen:
    """What verification and an attempt made of a source."""

    evidence: Evidence
    messages: list[list[bytes]]
    rejects: list[dict[str, Any]]
    files: list[dict[str, Any]]


def imported(
    tmp_path: Path,
    objects: Objects,
    source: Source,
    spec: ImportSpec = SPEC,
    *,
    tables: list[list[dict[str, Any]]] | None = None,
) -> Seen:
    kept: list[dict[str, Any]] = []
    tables = [] if tables is None else tables

    def upload(path: Path) -> str:
        kept.extend(pq.read_table(path).to_pylist())
        return "s3://lake/rejects/x.parquet"

    def upload_table(path: Path) -> str:
        assert pq.read_schema(path).equals(FILE_SCHEMA)
        tables.append(pq.read_table(path).to_pylist())
        return ""

    with ParquetRejects(tmp_path / "rejects.parquet", upload) as rejects:
        evidence = verify_file(
            source,
            spec,
            partitions=PARTITIONS,
            limits=LIMITS,
            rejects=rejects,
            on_progress=lambda _: None,
            store=objects.store,
            on_files=lambda read: upload_files(cast("Any", source), read, tmp_path / "files.parquet", upload_table),
        )
    log = sent(objects, source, spec, audience_attempt(PARTITIONS, spec.row_schema), evidence)
    return Seen(evidence=evidence, messages=log.messages, rejects=kept, files=tables[-1] if tables else [])


def sent(
    objects: Objects, source: Source, spec: ImportSpec, attempt: ImportAttempt, evidence: Evidence
) -> InMemoryTopicLog:
    log = InMemoryTopicLog(PARTITIONS)
    with open_rows(source, spec, LIMITS, objects.store) as parsed:
        publish_import(
            parsed,
            attempt,
            evidence=evidence,
            log=log,
            backlog=StepWorkers(log),
            fence=ScriptedFence(),
            on_progress=lambda _: None,
        )
    return log


def cut(rows: Sequence[Row], parts: int) -> list[Sequence[Row]]:
    """The rows in parts of different sizes, one of them without rows if there are several."""
    ends = sorted({len(rows) * n * n // (parts * parts) for n in range(1, parts + 1)})
    return [rows[first:end] for first, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(("form", "parts"), [*((form, 7) for form in FORMATS), ("csv", 45)])
def test_the_same_rows_in_several_files_are_the_same_import(tmp_path: Path, form: str, parts: int) -> None:
    objects, write = Objects(), FORMATS[form]
    whole = imported(tmp_path, objects, objects.add(f"whole.{form}", write(ROWS)))
    cuts = cut(ROWS, parts)
    files = tuple(objects.add(f"part-{n:03d}.{form}", write(rows)) for n, rows in enumerate(cuts))
    split = imported(tmp_path, objects, files)

    own = whole.evidence
    assert replace(split.evidence, source_bytes=own.source_bytes, decoded_bytes=own.decoded_bytes) == own
    assert split.messages == whole.messages  # ordinals over the set, chunks cut where those of one file are
    firsts = {file.uri: sum(map(len, cuts[:n])) for n, file in enumerate(files)}
    assert [firsts[row["file"]] + row["ordinal"] for row in split.rejects] == [row["ordinal"] for row in whole.rejects]
    if form != "parquet":
        assert {row["line"] for row in split.rejects if row["ordinal"] == 0} <= {1, 2}
    assert [row["rows"] for row in split.files] == [len(rows) for rows in cuts]
    assert sum(row["accepted"] for row in split.files) == whole.evidence.accepted
    assert [row["file"] for row in split.files] == [file.uri for file in files]


def test_events_keep_the_identity_of_their_file_and_row(tmp_path: Path) -> None:
    spec = ImportSpec(
        kind="events",
        mode="append",
        columns=(Column(name="event"), Column(name="occurred_at", type="timestamp")),
        max_reject_share=1.0,
    )
    objects = Objects()
    lines = [f"user-{n % 7},{'buy' if n % 5 else ''},2026-01-01T00:00:{n % 60:02d}Z" for n in range(90)]
    files = tuple(
        objects.add(f"{n}.csv", "\n".join(["user_id,event,occurred_at", *lines[30 * n : 30 * n + 30], ""]).encode())
        for n in range(3)
    )
    attempt = ActivityAttempt(
        kind="events",
        tenant=TenantName("acme"),
        import_id=JobId("01jd0000000000000000000000"),
        attempt=Attempt(1),
        partitions=PARTITIONS,
        source="s3://lake/",
        columns=spec.row_schema,
    )

    def identities(source: Source, attempt: ActivityAttempt) -> set[tuple[str, int]]:
        seen = imported(tmp_path, objects, source, spec)
        log = sent(objects, source, spec, attempt, seen.evidence)
        chunks = [chunk for values in log.messages for chunk in map(CODEC.decode, values)]
        assert all(isinstance(chunk, EventChunk) for chunk in chunks)
        found: set[tuple[str, int]] = set()
        for chunk in cast("list[EventChunk]", chunks):
            found |= {(chunk.source, ordinal) for ordinal in decode_rows(chunk.rows)["_ordinal"].to_pylist()}
        return found

    alone = [identities(file, replace(attempt, source=file.uri)) for file in files]
    together = identities(files, replace(attempt, sources=tuple(file.uri for file in files)))
    assert together == set.union(*alone)
    assert len(together) == 72


def test_a_file_at_fault_is_named_and_the_table_has_the_files_before_it(tmp_path: Path) -> None:
    objects = Objects()
    good, bad = as_csv(ROWS[1:10]), b"user_id,years\na,1\n"
    files = tuple(objects.add(f"{n}.csv", bad if n == 2 else good) for n in range(4))
    tables: list[list[dict[str, Any]]] = []
    with pytest.raises(UserError) as error:
        imported(tmp_path, objects, files, tables=tables)
    assert error.value.code == "MISSING_COLUMN"
    assert error.value.message.startswith("s3://lake/2.csv: the file has no column 'age'")
    assert (error.value.detail["file"], error.value.detail["file_number"]) == ("s3://lake/2.csv", 3)
    assert [row["rows"] for row in tables[0]] == [9, 9, None, None]


def test_a_column_that_one_file_may_lack_is_null_there(tmp_path: Path) -> None:
    objects = Objects()
    spec = replace(SPEC, allow_missing_columns=("age",))
    files = (objects.add("0.csv", as_csv(ROWS[1:5])), objects.add("1.csv", b"user_id\nb\n"))
    assert imported(tmp_path, objects, files, spec).evidence.accepted == 5


def test_json_lines_need_a_column_in_some_row_of_the_set(tmp_path: Path) -> None:
    objects = Objects()
    without = objects.add("0.jsonl", b'{"user_id": "a"}\n')
    files = (without, objects.add("1.jsonl", as_json([("b", 1)])), objects.add("2.jsonl.gz", gzip.compress(b"")))
    assert imported(tmp_path, objects, files).evidence.accepted == 2
    with pytest.raises(UserError, match="no row of the 2 files has 'age'"):
        imported(tmp_path, objects, (without, objects.add("3.jsonl", b'{"user_id": "c"}\n')))


def test_an_empty_file_is_no_fault_unless_all_are(tmp_path: Path) -> None:
    objects = Objects()
    empty = objects.add("0.csv.gz", gzip.compress(b""))
    header = objects.add("1.csv", b"user_id,age\n")
    assert imported(tmp_path, objects, (empty, header, objects.add("2.csv", as_csv(ROWS[1:5])))).evidence.rows == 4
    with pytest.raises(UserError, match="EMPTY_FILE"):
        imported(tmp_path, objects, (empty, header))


def test_two_formats_are_refused_by_content(tmp_path: Path) -> None:
    objects = Objects()
    files = (objects.add("part-0", as_csv(ROWS[1:5])), objects.add("part-1", as_parquet(ROWS[1:5])))
    with pytest.raises(UserError, match=r"s3://lake/part-0 is CSV, and s3://lake/part-1 is Parquet"):
        imported(tmp_path, objects, files)


def test_a_file_that_changes_fails_the_import_by_name(tmp_path: Path) -> None:
    objects = Objects()
    files = tuple(objects.add(f"{n}.csv", as_csv(ROWS[1:5])) for n in range(3))
    objects.gone.add("1.csv")
    with pytest.raises(UserError) as error:
        imported(tmp_path, objects, files)
    assert (error.value.code, error.value.detail["file"]) == ("SOURCE_CHANGED", "s3://lake/1.csv")


def test_shares_of_rejects_are_of_all_files(tmp_path: Path) -> None:
    objects = Objects()
    files = (objects.add("0.csv", as_csv([("", 1), ("a", 1)])), objects.add("1.csv", as_csv([("b", 1)] * 6)))
    assert imported(tmp_path, objects, files, replace(SPEC, max_reject_share=0.125)).evidence.rejected == 1
    with pytest.raises(UserError, match=r"1 of 8 rows were rejected .* Mostly s3://lake/0.csv, line 2"):
        imported(tmp_path, objects, files, replace(SPEC, max_reject_share=0.1))


def test_other_columns_are_those_of_all_files() -> None:
    objects = Objects()
    spec = ImportSpec(kind="profiles", mode="append", other_columns=True)
    files = (
        objects.add("0.jsonl", b'{"user_id": "a", "city": "x"}\n'),
        objects.add("1.jsonl", b'{"user_id": "b", "age": 1}\n'),
    )
    found = complete_spec(files, spec, LIMITS, objects.store)
    assert [(c.name, c.type) for c in found.columns] == [("city", "string"), ("age", "double")]
    other = objects.add("2.jsonl", b'{"user_id": "b", "age": "x"}\n')
    with pytest.raises(UserError, match=r"2.jsonl: the column 'age' is string, but double in s3://lake/1.jsonl"):
        complete_spec((*files, other), spec, LIMITS, objects.store)


def test_a_set_counts_what_was_read_before() -> None:
    objects, seen = Objects(), []
    files = tuple(objects.add(f"{n}.csv", as_csv(ROWS[1:5])) for n in range(3))
    with open_rows(files, SPEC, LIMITS, objects.store, lambda p: seen.append((p.source_bytes, p.rows))) as parsed:
        batches = [found for found in parsed if not isinstance(found, RejectBatch)]
    assert [batch.column("_ordinal").to_pylist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert seen[-1] == (sum(file.size for file in files), 12)
    assert parsed.summary.rows == 12
