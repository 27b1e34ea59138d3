"""What a deployment can take: imports a day, disk of the brokers, and from which size on a task is cheaper."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from orchestration.kinds.compute_target import ComputeTarget
from orchestration.quoting.bills import GB
from orchestration.quoting.deployment import FUNCTION_LONGEST_S, Deployment
from orchestration.quoting.pace import workers_seconds
from orchestration.quoting.prices import Prices
from orchestration.quoting.quote import DAY_S
from orchestration.quoting.rates import Rates
from orchestration.quoting.stage_targets import StageTargets
from orchestration.quoting.stages import Quoting, StageQuote
from orchestration.quoting.work import Work

MOST_ROWS: Final = 10**12
READING: Final = ("verify", "import")
"""The stages whose place goes by the file alone."""


def materialised_s(rows: int, deployment: Deployment, rates: Rates) -> float:
    """Seconds until the workers have made so many measured rows durable, sorted and announced."""
    d = deployment
    return workers_seconds(rates.materialise, rows, partitions=d.partitions, workers=d.workers, vcpu=d.worker.vcpu)


def imports_a_day(rows: int, deployment: Deployment, rates: Rates) -> float:
    """Imports of so many measured rows that the workers finish in a day when they never wait."""
    return DAY_S / materialised_s(rows, deployment, rates)


def kafka_disk_gb(rows_a_day: float, days: float, deployment: Deployment, rates: Rates) -> float:
    """Disk of all brokers for the messages of so many rows a day, kept so many days, in all replicas."""
    return rows_a_day * days * rates.kafka.bytes * deployment.replication / GB


def reading(
    rows: int, place: ComputeTarget, deployment: Deployment, rates: Rates, prices: Prices
) -> tuple[StageQuote, ...]:
    """Verifying and sending a file of so many measured rows in one place, whatever the thresholds say."""
    work = Work(rows=rows, bytes=round(rows * rates.file.bytes))
    targets = StageTargets(verify=place, import_=place, build=place, publish=place)
    quoting = Quoting(work=work, deployment=deployment, rates=rates, prices=prices, targets=targets)
    return tuple(stage for stage in quoting.stages() if stage.stage in READING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """For one number of workers: rows from which a task is cheaper, and which a function cannot send in 15 minutes.

    None: there is no such number.
    """

    workers: int
    break_even_rows: int | None
    function_rows: int | None


def threshold(workers: int, deployment: Deployment, rates: Rates, prices: Prices) -> Threshold:
    """Where verifying and sending in functions costs as much as in tasks, and where a function has run 15 minutes."""
    d = replace(deployment, settings=deployment.settings.with_(workers=workers))

    def dearer(rows: int) -> bool:
        function, task = (reading(rows, place, d, rates, prices) for place in ("function", "task"))
        return sum(s.usd.total for s in function) > sum(s.usd.total for s in task)

    def too_long(rows: int) -> bool:
        return any(s.seconds > FUNCTION_LONGEST_S for s in reading(rows, "function", d, rates, prices))

    return Threshold(workers=workers, break_even_rows=_first(dearer), function_rows=_first(too_long))


def _first(holds: Callable[[int], bool]) -> int | None:
    """The smallest number of rows for which something holds that then holds for all larger ones."""
    if not holds(MOST_ROWS):
        return None
    low, high = 0, MOST_ROWS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
