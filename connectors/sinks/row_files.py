"""The rows of a query as one local file: CSV, JSON Lines or Parquet. It gets its name once it is complete."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from connectors.sinks.local_file import complete_file
from schemas.csv_lines import csv_lines
from schemas.errors import UserError

BATCH_ROWS: Final = 20_000
Columns = Sequence[Mapping[str, str]]
"""Of the result, each with the `name` and DuckDB's `type`."""
Rows = Iterator[Sequence[Any]]

_INTEGERS: Final = {
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "UTINYINT": pa.uint8(),
    "USMALLINT": pa.uint16(),
    "UINTEGER": pa.uint32(),
    "UBIGINT": pa.uint64(),
    "HUGEINT": pa.decimal128(38),  # what sum() of whole numbers is
}
_NUMBERS: Final = {**_INTEGERS, "BOOLEAN": pa.bool_(), "FLOAT": pa.float64(), "DOUBLE": pa.float64()}
_WRITTEN: Final = {
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "UTC"),
}
"""Types whose values arrive as text."""
_DECIMAL: Final = re.compile(r"DECIMAL\(([0-9]+),([0-9]+)\)")


def write_rows(columns: Columns, rows: Rows, target: Path, *, overwrite: bool) -> int:
    """Write all rows to a file whose name ends with a key of `WRITERS`; returns their number.

    Raises `UserError` BAD_SQL for columns that a file cannot have, DESTINATION_EXISTS, DESTINATION_NOT_WRITABLE,
    DESTINATION_FULL, and what `rows` raises; then there is no file.
    """
    names = [one["name"] for one in columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError("BAD_SQL", f"two columns are called {twice[0][:80]!r}: name them with AS")
    with complete_file(target, overwrite=overwrite) as path:
        return WRITERS[target.suffix.lower()](columns, rows, path)


def _write_csv(columns: Columns, rows: Rows, path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(csv_lines([[one["name"] for one in columns]]))
        while some := list(islice(rows, BATCH_ROWS)):
            file.writelines(csv_lines(some))
            count += len(some)
    return count


def _write_jsonl(columns: Columns, rows: Rows, path: Path) -> int:
    names, count = [one["name"] for one in columns], 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for row in rows:
            file.write(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n")
            count += 1
    return count


def _write_parquet(columns: Columns, rows: Rows, path: Path) -> int:
    schema, count = pa.schema([(one["name"], arrow_type(one["type"])) for one in columns]), 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while some := list(islice(rows, BATCH_ROWS)):
            values = zip(*some, strict=True)
            arrays = [_array(one, found) for one, found in zip(columns, values, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            count += len(some)
    return count


def arrow_type(type_: str) -> pa.DataType:
    """The type of a column in Parquet; text for lists, maps, structs and whatever else has no plain value."""
    if (decimal := _DECIMAL.fullmatch(type_)) is not None:
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    return _NUMBERS.get(type_) or _WRITTEN.get(type_) or pa.string()


def _array(column: Mapping[str, str], values: Sequence[Any]) -> pa.Array:
    type_ = arrow_type(column["type"])
    try:
        if column["type"] in _NUMBERS:
            return pa.array(values, type_)
        return pa.array(values, pa.string()).cast(type_)
    except (pa.ArrowException, OverflowError) as exc:
        raise UserError(
            "BAD_SQL",
            f"column {column['name'][:80]!r} has a value that Parquet cannot hold as {column['type'][:80]}: cast it to "
            "text with ::varchar",
        ) from exc


WRITERS: Final[Mapping[str, Callable[[Columns, Rows, Path], int]]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
"""By the end of the file's name."""
