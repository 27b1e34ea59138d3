"""Measured rates: what a row costs in each stage. `rates.toml` is written by `python -m benchmarks.capacity_page`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from schemas.errors import FatalError

RATES_FILE: Final = Path(__file__).parent / "rates.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRate:
    """What a row takes, in microseconds: `wall_us` of time and `cpu_us` of processors, measured on the same run.

    `cpu_us` is above `wall_us` where more than one core was busy. `source`: which measurement.
    """

    wall_us: float
    cpu_us: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRate:
    """What a row takes, in bytes. `source`: which measurement."""

    bytes: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """A figure that was not measured here, in the unit that its name ends with. `source`: where it is from."""

    value: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """All of them. A row is one of the benchmark's file: a UUID, a number, two letters.

    - verify, import_, materialise, build, publish: of an audience; building counts the rows of both sides
    - archive: a row of events or profiles, taken by the workers of segments
    - whole: a row of an audience from the start of the workflow to its end, all on two cores; only for comparison
    - file, kafka, lake: bytes of a row in the CSV file, in the broker's files (one replica), in the parts
    - function_start_s, task_start_s, machine_start_s: until the program runs in its place
    - step_s: one of the small functions between the stages
    - s3_bytes_s: of one connection to S3; the file is read over one
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
        """Of the file's tables `stages`, `bytes` and `assumed`. Raises `KeyError`, `TypeError` where one is missing."""
        found: dict[str, Any] = {name: StageRate(**entry) for name, entry in record["stages"].items()}
        found["import_"] = found.pop("import")
        found |= {name: ByteRate(**entry) for name, entry in record["bytes"].items()}
        found |= {name: Assumed(**entry) for name, entry in record["assumed"].items()}
        return cls(**found)


@cache
def shipped_rates() -> Rates:
    """Those that come with the product. Raises `FatalError` BAD_RATES."""
    return read_rates(RATES_FILE)


def read_rates(path: Path) -> Rates:
    """Rates of a file. Raises `FatalError` BAD_RATES, since no user writes one."""
    try:
        return Rates.from_record(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as exc:
        raise FatalError("BAD_RATES", f"{path} cannot be read: {exc}", path=str(path)) from exc
