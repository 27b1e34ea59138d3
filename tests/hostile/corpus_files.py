"""The files in `corpus/`, named by their content, and the expected outcome of each."""

import hashlib
import json
from pathlib import Path
from typing import Final

from schemas.columns import Column
from schemas.import_spec import ImportSpec
from tests.hostile import naive_csv, naive_json
from tests.hostile.avro_cases import AVRO_SPEC
from tests.hostile.json_cases import JSON_SPEC
from tests.hostile.judging import Outcome, against_naive, naive_outcome
from tests.hostile.parquet_cases import PARQUET_SPEC
from tests.hostile.reading import read_avro, read_csv, read_jsonl, read_parquet
from tests.hostile.twin import SPEC, WANTED

FOLDER: Final = Path(__file__).parent / "corpus"
OUTCOMES: Final = FOLDER / "outcomes.json"
LARGEST: Final = 4096
SUFFIXES: Final = (".csv", ".jsonl", ".parquet", ".avro")
Kept = tuple[ImportSpec, naive_csv.Wanted]
"""Columns that are kept of a file, for the product and for the naive reader."""


def _kept(id_column: str, *columns: tuple[str, str]) -> Kept:
    kept = tuple(Column.parse(f"column_{n}:{type_}={name}") for n, (name, type_) in enumerate(columns))
    return ImportSpec(id_column=id_column, columns=kept, format="csv"), ((id_column, "id"), *columns)


KEPT: Final[tuple[Kept, ...]] = (
    (SPEC, WANTED),
    _kept("note", ("user_id", "string"), ("at", "timestamp"), ("n", "double"), ("n", "long"), ("extra", "string")),
    _kept("extra", ("d", "double")),
)
"""All columns but the last; an id in the middle, columns in another order and one twice; an id at the end."""


def files(suffix: str) -> list[Path]:
    """Corpus files of a format."""
    return sorted(FOLDER.glob(f"*{suffix}"))


def name_of(content: bytes, suffix: str) -> str:
    """File name for this content."""
    return hashlib.sha256(content).hexdigest()[:16] + suffix


def keep(content: bytes, suffix: str) -> Path:
    """Add a file to the corpus. Raises ValueError if it is too large or its format is not read."""
    if suffix not in SUFFIXES or len(content) >= LARGEST:
        raise ValueError(f"less than {LARGEST} bytes and one of {', '.join(SUFFIXES)}")
    path = FOLDER / name_of(content, suffix)
    path.write_bytes(content)
    return path


def shown(outcome: Outcome) -> str:
    """An outcome as one line."""
    rejects = ", ".join(f"{code} {ordinal}" for ordinal, *_, code in outcome.rejects)
    return outcome.refusal or f"{[list(row) for row in outcome.rows]}; {rejects or 'no rejects'}"


def csv_verdict(content: bytes, *, block_bytes: int = 64, kept: Kept = KEPT[0]) -> str:
    """What is wrong with the product's reading; empty if nothing is."""
    spec, wanted = kept
    expected = naive_outcome(lambda: naive_csv.read(content, wanted))
    return against_naive(expected, read_csv(content, spec, block_bytes=block_bytes))


def jsonl_verdict(content: bytes, *, block_bytes: int = 64) -> str:
    """Same as `csv_verdict`, for JSON Lines."""
    expected = naive_outcome(lambda: naive_json.read(content))
    return against_naive(expected, read_jsonl(content, JSON_SPEC, block_bytes=block_bytes))


def parquet_outcome(content: bytes, folder: Path) -> str:
    """The product's reading, as one line. A file may kill this process."""
    return shown(read_parquet(content, PARQUET_SPEC, folder))


def avro_outcome(content: bytes) -> str:
    """The product's reading, as one line."""
    return shown(read_avro(content, AVRO_SPEC))


def binary_outcomes(suffix: str) -> dict[str, str]:
    """Expected outcome of each file of a binary format, by name."""
    outcomes: dict[str, str] = json.loads(OUTCOMES.read_text(encoding="utf-8"))
    return {name: outcome for name, outcome in outcomes.items() if name.endswith(suffix)}
