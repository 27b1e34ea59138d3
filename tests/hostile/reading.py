"""The product's readers, as comparable outcomes: in this process with small blocks, or through the child."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from connectors.sources.avro_reader import AvroReader
from connectors.sources.compression import MAGIC_BYTES
from connectors.sources.csv_reader import CsvReader
from connectors.sources.detection import detect
from connectors.sources.jsonl_reader import JsonLinesReader
from connectors.sources.limits import ParseLimits
from connectors.sources.parquet_reader import ParquetReader
from connectors.sources.parsing import ParsedFile, open_parsed
from connectors.sources.rejects import RejectBatch
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from tests.hostile.judging import Outcome
from tests.hostile.parquet_cases import Case

CRASH: Final = "crash"
LIMITS: Final = ParseLimits()


def read_csv(content: bytes, spec: ImportSpec, *, block_bytes: int, batch_rows: int = 24 * 1024) -> Outcome:
    """Read in this process."""
    return outcome_of(lambda: CsvReader(io.BytesIO(content), spec, block_bytes=block_bytes, batch_rows=batch_rows))


def read_jsonl(content: bytes, spec: ImportSpec, *, block_bytes: int) -> Outcome:
    """Read in this process."""
    return outcome_of(lambda: JsonLinesReader(io.BytesIO(content), spec, block_bytes=block_bytes))


def read_parquet(content: bytes, spec: ImportSpec, folder: Path) -> Outcome:
    """Read in this process, which the file may kill."""
    path = folder / "here.parquet"
    path.write_bytes(content)
    try:
        detect(path.name, content[:MAGIC_BYTES], "parquet")
    except UserError as exc:
        return Outcome(refusal=exc.code)
    with path.open("rb") as file:
        fd = file.fileno()
        return outcome_of(lambda: ParquetReader(fd, spec, max_decoded_bytes=1 << 32, max_ratio=LIMITS.max_ratio))


def parquet_verdict(case: Case, folder: Path) -> str:
    """What is wrong with a case read in this process, which it may kill; empty if nothing is."""
    return case.verdict(read_parquet(case.content, case.spec, folder))


def read_avro(content: bytes, spec: ImportSpec, max_decoded_bytes: int = 1 << 32) -> Outcome:
    """Read in this process."""
    try:
        detect("here.avro", content[:MAGIC_BYTES], "avro")
    except UserError as exc:
        return Outcome(refusal=exc.code)
    file, ratio = io.BytesIO(content), LIMITS.max_ratio
    return outcome_of(lambda: AvroReader(file, spec, max_decoded_bytes=max_decoded_bytes, max_ratio=ratio))


def avro_verdict(case: Case, folder: Path) -> str:
    """What is wrong with a case read in this process; empty if nothing is."""
    del folder
    return case.verdict(read_avro(case.content, case.spec))


def parse(path: Path, spec: ImportSpec, limits: ParseLimits = LIMITS) -> Outcome:
    """Read a file through the child process. An error not caused by the file becomes a refusal that no case expects."""
    return parse_measured(path, spec, limits)[0]


def parse_measured(path: Path, spec: ImportSpec, limits: ParseLimits = LIMITS) -> tuple[Outcome, int]:
    """Same as `parse`, with the child's peak memory in bytes; 0 if no child was started."""
    parsed: ParsedFile | None = None
    try:
        with open_parsed(path, spec, limits) as parsed:
            outcome = outcome_of(lambda: parsed)
            if not outcome.refusal:
                assert (parsed.summary.accepted, parsed.summary.rejected) == (len(outcome.rows), len(outcome.rejects))
    except UserError as exc:
        outcome = Outcome(refusal=exc.code)
    except Exception as exc:  # noqa: BLE001  # whatever reaches the parent would end it
        outcome = Outcome(refusal=f"{CRASH}: {exc!r}"[:300])
    return outcome, 0 if parsed is None else parsed.peak_bytes


def outcome_of(read: Any) -> Outcome:
    """Outcome of the batches of `read()`; a `UserError` is an outcome too, any other error is raised."""
    rows: list[tuple[Any, ...]] = []
    rejects: list[tuple[Any, ...]] = []
    try:
        batches: Iterable[pa.RecordBatch | RejectBatch] = read()
        for found in batches:
            if isinstance(found, RejectBatch):
                rejects += [(r.ordinal, r.line, r.byte_offset, r.code.value) for r in found.rejects()]
            else:
                found.validate(full=True)
                rows += zip(*(comparable(column) for column in found.columns), strict=True)
    except UserError as exc:
        return Outcome(refusal=exc.code)
    return Outcome(rows=rows, rejects=sorted(rejects, key=lambda reject: reject[0]))


def comparable(column: pa.Array) -> list[Any]:
    """Values in the form of `naive_values`, to be compared bit by bit."""
    if pa.types.is_timestamp(column.type):
        column = column.view(pa.int64())
    elif pa.types.is_date32(column.type):
        column = column.view(pa.int32())
    elif pa.types.is_float64(column.type):
        return [None if value is None else value.hex() for value in column.to_pylist()]
    return list(column.to_pylist())
