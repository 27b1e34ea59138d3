"""Real files to import, and the expected result of each, from an oracle that knows nothing of Muster.

The oracle reads the file back with Python's own `csv` and `json`, with Arrow's Parquet reader or with fastavro, and
applies the rule of docs/file-formats.md: the last row of a user counts, and bad rows are left out.
"""

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import Column, ImportMode
from schemas.import_spec import ImportSpec
from tests.clicks import LOGS, click_log
from tests.hostile.avro_bytes import avro, record

Row = tuple[int | None, str | None]
"""The columns of a user besides the id: age and country."""
Members = Mapping[str, Row]
COLUMNS: Final = (Column(name="age", type="long"), Column(name="country"))
COUNTRIES: Final = ("JP", "DE", "", "名古屋, 愛知", 'the "old" one', "line\nbreak")
SIZES: Final = {400: 5, 1_500: 5, 20_000: 3, 80_000: 1}
"""Rows, and the weight of each size. In any format, the first two sizes go through functions, the others through tasks.
"""
BAD_AGE: Final = "no number"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file, the spec it is imported with, and what the oracle expects of it."""

    path: Path
    spec: ImportSpec
    rows: int
    rejected: int
    members: Members

    @property
    def accepted(self) -> int:
        """Rows that are not rejected."""
        return self.rows - self.rejected

    @property
    def has_columns_of_ours(self) -> bool:
        """False for clicks: Muster refuses them in an audience of the other files, which has more columns."""
        return self.spec.columns == COLUMNS


def make_file(folder: Path, seed: int, *, rows: int | None = None, mode: ImportMode = "replace") -> SourceFile:
    """Write a file whose shape and size the seed chooses."""
    dice = random.Random(seed)
    size = dice.choices([*SIZES], [*SIZES.values()])[0] if rows is None else rows
    shape = dice.choice(list(_WRITERS))
    bad_share = dice.choice((0.0, 0.0, 0.02)) if shape.startswith("csv") else 0.0
    users = [f"user-{dice.randrange(size)}" for _ in range(size)]
    table = [(u, dice.randrange(100), dice.choice(COUNTRIES), dice.random() < bad_share) for u in users]
    path = folder / f"{seed}.{shape}"
    path.write_bytes(_WRITERS[shape](table))
    # A replace by a smaller file is intended here, not an accident to guard against.
    spec = ImportSpec(columns=COLUMNS, mode=mode, max_shrink_percent=None, max_reject_share=0.5)
    return _judged(path, spec)


def clicks(folder: Path, seed: int, name: str = LOGS[-1]) -> SourceFile:
    """The users of a click log, with the platform of their last click. The seed chooses where the log is cut."""
    lines = gzip.decompress(click_log(name)).splitlines(keepends=True)
    rows = random.Random(seed).randrange(len(lines) // 2, len(lines))
    path = folder / f"{seed}-clicks.csv.gz"
    path.write_bytes(gzip.compress(b"".join(lines[: rows + 1]), 1, mtime=0))
    spec = ImportSpec(columns=(Column(name="country", source="platform"),), max_shrink_percent=None)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    members = {row["user_id"]: (None, row["platform"]) for row in read}
    return SourceFile(path=path, spec=spec, rows=len(read), rejected=0, members=members)


def _judged(path: Path, spec: ImportSpec) -> SourceFile:
    rows, members = 0, {}
    for user, age, country in _read(path):
        rows += 1
        if age != BAD_AGE:
            members[user] = (None if age is None else int(age), country)
    bad = sum(1 for _, age, _ in _read(path) if age == BAD_AGE)
    return SourceFile(path=path, spec=spec, rows=rows, rejected=bad, members=members)


def _read(path: Path) -> Iterable[tuple[str, str | int | None, str | None]]:
    content = path.read_bytes()
    if path.name.endswith(".gz"):
        content = gzip.decompress(content)
    if ".parquet" in path.name:
        for row in pq.read_table(pa.BufferReader(content)).to_pylist():
            yield row["user_id"], row["age"], row["country"]
    elif ".avro" in path.name:
        records: Any = fastavro.reader(io.BytesIO(content))
        for row in records:
            yield row["user_id"], row["age"], row["country"]
    elif ".jsonl" in path.name:
        for line in content.decode().split("\n")[:-1]:
            row = json.loads(line)
            yield row["user_id"], row["age"], row["country"]
    else:
        for row in csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True):
            yield row["user_id"], row["age"] or None, row["country"] or None


Table = list[tuple[str, int, str, bool]]


def _csv(table: Table) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["user_id", "age", "country"])
    writer.writerows([user, BAD_AGE if bad else age, country] for user, age, country, bad in table)
    return text.getvalue().encode()


def _jsonl(table: Table) -> bytes:
    rows = ({"user_id": user, "age": age, "country": country} for user, age, country, _ in table)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _parquet(table: Table) -> bytes:
    sink = io.BytesIO()
    users, ages, countries, _ = zip(*table, strict=True)
    pq.write_table(pa.table({"user_id": users, "age": ages, "country": countries}), sink, row_group_size=5_000)
    return sink.getvalue()


def _avro(table: Table) -> bytes:
    schema = record(("user_id", "string"), ("age", "long"), ("country", "string"))
    rows = [{"user_id": user, "age": age, "country": country} for user, age, country, _ in table]
    return avro(schema, rows, "deflate", 5_000)


_WRITERS: Final[Mapping[str, Callable[[Table], bytes]]] = {
    "csv": _csv,
    "csv.gz": lambda table: gzip.compress(_csv(table), 1, mtime=0),
    "jsonl": _jsonl,
    "jsonl.gz": lambda table: gzip.compress(_jsonl(table), 1, mtime=0),
    "parquet": _parquet,
    "avro": _avro,
}


def after(base: Members, file: SourceFile) -> Members:
    """The members of the version that an import makes from the version before it."""
    match file.spec.mode:
        case "replace":
            return file.members
        case "append":
            return {**base, **file.members}
        case "remove":
            return {user: row for user, row in base.items() if user not in file.members}
