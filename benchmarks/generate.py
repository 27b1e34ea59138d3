"""Generates users: user_id (UUID), age, country. Seeded: equal arguments give equal rows on every machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

COUNTRIES: Final = ("JP", "US", "DE", "FR", "BR", "IN", "ID", "TH", "VN", "KR", "TW", "GB")
BATCH_ROWS: Final = 500_000
UUID_CHARACTERS: Final = 36
_DASHES: Final = (8, 13, 18, 23)
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
SCHEMA: Final = pa.schema([("user_id", pa.string()), ("age", pa.int64()), ("country", pa.string())])


def uuids(random: np.random.Generator, rows: int) -> pa.StringArray:
    """Random UUIDs as text (version bits are not set: the benchmarks need 128 random bits, not RFC 9562)."""
    text = np.full((rows, UUID_CHARACTERS), ord("-"), np.uint8)
    digits = [k for k in range(UUID_CHARACTERS) if k not in _DASHES]
    text[:, digits] = _HEX[random.integers(0, 16, (rows, len(digits)), np.uint8)]
    offsets = np.arange(rows + 1, dtype=np.int32) * UUID_CHARACTERS
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text.reshape(-1)))


def users(random: np.random.Generator, rows: int) -> Iterator[pa.RecordBatch]:
    """The rows, in batches of `SCHEMA`."""
    for first in range(0, rows, BATCH_ROWS):
        n = min(BATCH_ROWS, rows - first)
        countries = pa.DictionaryArray.from_arrays(random.integers(0, len(COUNTRIES), n), COUNTRIES)
        columns = [uuids(random, n), pa.array(random.integers(18, 91, n)), countries.cast(pa.string())]
        yield pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def generate_csv(path: Path, rows: int, *, seed: int = 7) -> int:
    """Write the file and return its size in bytes."""
    options = pacsv.WriteOptions(quoting_style="none")
    with pacsv.CSVWriter(path, SCHEMA, write_options=options) as writer:
        for batch in users(np.random.default_rng(seed), rows):
            writer.write_batch(batch)
    return path.stat().st_size


def as_json_lines(csv: Path, path: Path) -> int:
    """Write the rows of such a file as JSON Lines, and return the size in bytes."""
    with csv.open(encoding="ascii") as rows, path.open("w", encoding="ascii") as lines:
        next(rows)
        for row in rows:
            user_id, age, country = row.rstrip("\n").split(",")
            lines.write(f'{{"user_id": "{user_id}", "age": {age}, "country": "{country}"}}\n')
    return path.stat().st_size
