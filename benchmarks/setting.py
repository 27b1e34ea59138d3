"""Input of every benchmark: the file, a work folder, and a broker if it needs one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Result
from connectors.sources.fork_server import PARSERS
from orchestration.platform.settings import Settings
from schemas.columns import Column
from schemas.import_spec import ImportSpec
from schemas.warm import warm

SPEC = ImportSpec(columns=(Column(name="age", type="long"), Column(name="country")))
"""Import spec of the generated file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """`settings` are those of a running stack (Kafka and S3). Each run is repeated, and the best counts.

    `csv` has `rows` rows. `scaling_rows`: sizes of the imports of `scaling`, ascending. `users`, `events` and `rules`:
    size of the segments benchmark. `idle_s`: how long a stack at rest is watched.
    """

    csv: Path
    rows: int
    scaling_rows: tuple[int, ...]
    users: int
    events: int
    rules: int
    idle_s: int
    repeat: int
    scratch: Path
    settings: Settings


def warm_parser() -> None:
    """Do what a function or task has done by the time it knows its file: load kernels, start a parser process."""
    warm()
    PARSERS.prepare()
    PARSERS.await_ready()


Benchmark = Callable[[Setting], list[Result]]
