"""The files in `corpus/`: kept, named by their content, and what must become of each."""

import hashlib
import json
from pathlib import Path
from typing import Final

from tests.hostile import naive_csv, naive_json
from tests.hostile.json_cases import JSON_SPEC
from tests.hostile.judging import Outcome, against_naive, naive_outcome
from tests.hostile.parquet_cases import PARQUET_SPEC
from tests.hostile.reading import read_csv, read_jsonl, read_parquet
from tests.hostile.twin import SPEC, WANTED

FOLDER: Final = Path(__file__).parent / "corpus"
OUTCOMES: Final = FOLDER / "outcomes.json"
LARGEST: Final = 4096
SUFFIXES: Final = (".csv", ".jsonl", ".parquet")


def files(suffix: str) -> list[Path]:
    """Those of a format."""
    return sorted(FOLDER.glob(f"*{suffix}"))


def name_of(content: bytes, suffix: str) -> str:
    """The name of a file of that content."""
    return hashlib.sha256(content).hexdigest()[:16] + suffix


def keep(content: bytes, suffix: str) -> Path:
    """Put a file into the corpus. Raises ValueError when it is too large or of no format that is read."""
    if suffix not in SUFFIXES or len(content) >= LARGEST:
        raise ValueError(f"less than {LARGEST} bytes and one of {', '.join(SUFFIXES)}")
    path = FOLDER / name_of(content, suffix)
    path.write_bytes(content)
    return path


def shown(outcome: Outcome) -> str:
    """An outcome in a line."""
    rejects = ", ".join(f"{code} {ordinal}" for ordinal, *_, code in outcome.rejects)
    return outcome.refusal or f"{[list(row) for row in outcome.rows]}; {rejects or 'no rejects'}"


def csv_verdict(content: bytes, *, block_bytes: int = 64) -> str:
    """What is wrong with what the product makes of it."""
    expected = naive_outcome(lambda: naive_csv.read(content, WANTED))
    return against_naive(expected, read_csv(content, SPEC, block_bytes=block_bytes))


def jsonl_verdict(content: bytes, *, block_bytes: int = 64) -> str:
    """As `csv_verdict`."""
    expected = naive_outcome(lambda: naive_json.read(content))
    return against_naive(expected, read_jsonl(content, JSON_SPEC, block_bytes=block_bytes))


def parquet_outcome(content: bytes, folder: Path) -> str:
    """What the product makes of it, in a line; it may die of it."""
    return shown(read_parquet(content, PARQUET_SPEC, folder))


def parquet_outcomes() -> dict[str, str]:
    """What must become of each file of Parquet, by name."""
    outcomes: dict[str, str] = json.loads(OUTCOMES.read_text(encoding="utf-8"))
    return outcomes
