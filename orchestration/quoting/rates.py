"""Measured rates: the cost of a row in each stage. `python -m benchmarks.capacity_page` writes `rates.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from schemas.errors import FatalError
from schemas.records import from_record

RATES_FILE: Final = Path(__file__).parent / "rates.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRate:
    """Cost of a row in microseconds: `wall_us` of time and `cpu_us` of processors, measured in the same run.

    `cpu_us` exceeds `wall_us` if more than one core was busy. `source`: the measurement.
    """

    wall_us: float
    cpu_us: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRate:
    """Size of a row in bytes. `source`: the measurement."""

    bytes: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """A figure that was not measured here; its name ends with the unit. `source`: its origin."""

    value: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """All rates. A row is one of the benchmark's file: a UUID, a number, two letters.

    - verify, import_, materialise, build, publish: for an audience; building counts the rows of both sides
    - archive: a row of events or profiles, processed by segment workers
    - whole: a row of an audience from the start of the workflow to its end, all on two cores; only for comparison
    - file, kafka, lake: bytes of a row in the CSV file, in the broker's files (one replica), in the parts
    - function_start_s, task_start_s, machine_start_s: until the program runs in its place
    - step_s: one of the small functions between the stages
    - s3_bytes_s: bytes per second over one connection to S3; a file is read over several
    """

    verify: StageRate
    import_: StageRate
    materialise: StageRate
    build: StageRate
    publish: StageRate
    archive: StageRate
    whole: StageRate
    file: ByteRate
    kafka: ByteRate
    lake: ByteRate
    function_start_s: Assumed
    task_start_s: Assumed
    machine_start_s: Assumed
    step_s: Assumed
    s3_bytes_s: Assumed

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Rates from the tables `stages`, `bytes` and `assumed`. Raises `KeyError`, `TypeError`, `FatalError`."""
        stages = {**record["stages"], "import_": record["stages"]["import"]}
        return from_record(cls, {**stages, **record["bytes"], **record["assumed"]})


@cache
def shipped_rates() -> Rates:
    """The rates that ship with the product. Raises `FatalError` BAD_RATES."""
    return read_rates(RATES_FILE)


def read_rates(path: Path) -> Rates:
    """Rates from a file. Raises `FatalError` BAD_RATES, since users do not write one."""
    try:
        return Rates.from_record(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, FatalError) as exc:
        raise FatalError("BAD_RATES", f"{path} cannot be read: {exc}", path=str(path)) from exc
