"""All exhibits, in the order of docs/evidence.md."""

from typing import Final

from tests.prove import burst, faults, hostile, mutants, rotation, schedules, soak, spark
from tests.prove.exhibits import Exhibit

EXHIBITS: Final[tuple[Exhibit, ...]] = (
    schedules.EXHIBIT,
    schedules.SEGMENTS_EXHIBIT,
    spark.EXHIBIT,
    mutants.EXHIBIT,
    faults.EXHIBIT,
    burst.EXHIBIT,
    hostile.EXHIBIT,
    rotation.EXHIBIT,
    soak.EXHIBIT,
)
