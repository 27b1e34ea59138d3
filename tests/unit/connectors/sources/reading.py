"""Run the readers on bytes in memory, or on a file through the child; the result is plain tuples."""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from connectors.sources.csv_reader import CsvReader
from connectors.sources.job import ParseSummary
from connectors.sources.jsonl_reader import JsonLinesReader
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import open_parsed
from connectors.sources.rejects import Reject, RejectBatch
from schemas.arrow import arrow_schema
from schemas.columns import Column
from schemas.import_spec import ImportSpec


@dataclass
class Found:
    """Accepted rows as (ordinal, user_id, ...), and the rejects."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    summary: ParseSummary | None = None

    @property
    def codes(self) -> list[tuple[int | None, str]]:
        return [(r.ordinal, r.code.value) for r in self.rejects]

    @property
    def ids(self) -> list[str]:
        return [row[1] for row in self.rows]


class Bytes:
    """A byte source that returns at most `most` bytes at a time."""

    def __init__(self, content: bytes, most: int = 1 << 30) -> None:
        self._file = io.BytesIO(content)
        self._most = most

    def readinto(self, buffer: memoryview) -> int:
        return self._file.readinto(buffer[: self._most])


def collect(batches: Iterable[pa.RecordBatch | RejectBatch], schema: pa.Schema) -> Found:
    found = Found()
    for batch in batches:
        if isinstance(batch, RejectBatch):
            found.rejects += batch.rejects()
        else:
            assert batch.schema.equals(schema)
            batch.validate(full=True)
            found.rows += [tuple(row.values()) for row in batch.to_pylist()]
    return found


def spec_of(*columns: str, **settings: Any) -> ImportSpec:
    return ImportSpec(columns=tuple(Column.parse(c) for c in columns), **settings)


def read_csv(content: bytes, *columns: str, spec: ImportSpec | None = None, **settings: Any) -> Found:
    spec = spec or spec_of(*columns)
    found = collect(CsvReader(Bytes(content), spec, **settings), arrow_schema(spec.row_schema, ordinal=True))
    return in_order(found)


def read_jsonl(content: bytes, *columns: str, spec: ImportSpec | None = None, **settings: Any) -> Found:
    spec = spec or spec_of(*columns)
    found = collect(JsonLinesReader(Bytes(content), spec, **settings), arrow_schema(spec.row_schema, ordinal=True))
    return in_order(found)


def parse_file(path: Path, *columns: str, spec: ImportSpec | None = None, limits: ParseLimits | None = None) -> Found:
    """Parse through the child process."""
    spec = spec or spec_of(*columns)
    with open_parsed(path, spec, limits) as parsed:
        found = collect(parsed, arrow_schema(spec.row_schema, ordinal=True))
        found.summary = parsed.summary
    return in_order(found)


def in_order(found: Found) -> Found:
    ordinals = [row[0] for row in found.rows]
    assert ordinals == sorted(ordinals), "accepted rows are in file order"
    refused = [r.ordinal for r in found.rejects]
    assert sorted(ordinals + [o for o in refused if o is not None]) == list(range(len(ordinals) + len(refused)))
    return found
