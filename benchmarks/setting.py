"""What every benchmark gets: the file, where to work, and a broker where it needs one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Result
from orchestration.settings import Settings
from schemas.columns import Column, ImportSpec

SPEC = ImportSpec(columns=(Column(name="age", type="long"), Column(name="country")))
"""Import spec of the generated file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """`settings` are those of a running stack (Kafka and S3). Runs are repeated and the best counts."""

    csv: Path
    rows: int
    repeat: int
    scratch: Path
    settings: Settings


Benchmark = Callable[[Setting], list[Result]]
