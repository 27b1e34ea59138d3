"""The capacity of a deployment: imports per day, broker disk, and the size from which a task is cheaper."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestration.kinds.compute_target import ComputeTarget
from orchestration.quoting.bills import GB
from orchestration.quoting.deployment import FUNCTION_LONGEST_S, Deployment
from orchestration.quoting.pace import workers_seconds
from orchestration.quoting.prices import Prices
from orchestration.quoting.quote import DAY_S
from orchestration.quoting.rates import Rates
from orchestration.quoting.stage_plans import StagePlan, StagePlans
from orchestration.quoting.stages import Quoting, StageQuote
from orchestration.quoting.work import Work

MOST_ROWS: Final = 10**12
READING: Final = ("verify", "import")
"""Stages whose compute target depends on the file alone."""


def materialised_s(rows: int, deployment: Deployment, rates: Rates) -> float:
    """Seconds until the workers have made `rows` measured rows durable, sorted and announced."""
    d = deployment
    return workers_seconds(rates.materialise, rows, partitions=d.partitions, workers=d.workers, vcpu=d.worker.vcpu)


def imports_a_day(rows: int, deployment: Deployment, rates: Rates) -> float:
    """Imports of `rows` measured rows that the workers finish per day if they never wait."""
    return DAY_S / materialised_s(rows, deployment, rates)


def kafka_disk_gb(rows_a_day: float, days: float, deployment: Deployment, rates: Rates) -> float:
    """Disk of all brokers, in GB, for the messages of `rows_a_day`, kept for `days`, in all replicas."""
    return rows_a_day * days * rates.kafka.bytes * deployment.replication / GB


def reading(
    rows: int, place: ComputeTarget, deployment: Deployment, rates: Rates, prices: Prices
) -> tuple[StageQuote, ...]:
    """Verifying and sending `rows` measured rows in one run each, on one compute target, whatever the settings say."""
    work = Work(rows=rows, bytes=round(rows * rates.file.bytes))
    plans = undivided(place)
    quoting = Quoting(work=work, deployment=deployment, rates=rates, prices=prices, plans=plans)
    return tuple(stage for stage in quoting.stages() if stage.stage in READING)


def undivided(place: ComputeTarget) -> StagePlans:
    """Every stage in one run, all in the same place."""
    plan = StagePlan(target=place)
    return StagePlans(verify=plan, import_=plan, build=plan, publish=plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Rows from which a task is cheaper, and rows a function cannot send in 15 minutes.

    None if no number of rows does that.
    """

    break_even_rows: int | None
    function_rows: int | None


def threshold(deployment: Deployment, rates: Rates, prices: Prices) -> Threshold:
    """Rows from which verifying and sending cost more in functions than in tasks, or take over 15 minutes in one."""

    def dearer(rows: int) -> bool:
        function, task = (reading(rows, place, deployment, rates, prices) for place in ("function", "task"))
        return sum(s.usd.total for s in function) > sum(s.usd.total for s in task)

    def too_long(rows: int) -> bool:
        return any(s.seconds > FUNCTION_LONGEST_S for s in reading(rows, "function", deployment, rates, prices))

    return Threshold(break_even_rows=_first(dearer), function_rows=_first(too_long))


def _first(holds: Callable[[int], bool]) -> int | None:
    """The smallest number of rows from which on a condition holds."""
    if not holds(MOST_ROWS):
        return None
    low, high = 0, MOST_ROWS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
