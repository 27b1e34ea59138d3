"""A quote: where the stages of an import run, how long they take, what they cost, and what stands in the way."""

from dataclasses import dataclass
from typing import Any, Final

from orchestration.quoting.bills import GB, Usd
from orchestration.quoting.deployment import Deployment
from orchestration.quoting.obstacles import Obstacle, obstacles
from orchestration.quoting.prices import Prices
from orchestration.quoting.rates import Rates
from orchestration.quoting.stage_plans import stage_plans
from orchestration.quoting.stages import Quoting, StageQuote
from orchestration.quoting.work import Work
from schemas.records import as_record
from schemas.topics import RETENTION_MS

DAY_S: Final = 86_400
RETENTION_DAYS: Final = RETENTION_MS / 1000 / DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """One import at AWS. `billed`: whether this deployment runs there; if not, the money is what it would cost there.

    `kafka_gb`: disk of the brokers, all replicas, while the topic keeps its messages. `lake_gb`: size of the new parts.
    """

    billed: bool
    stages: tuple[StageQuote, ...]
    obstacles: tuple[Obstacle, ...]
    kafka_gb: float
    lake_gb: float
    lake_usd_month: float
    region: str
    prices_of: str

    @property
    def seconds(self) -> float:
        """Seconds of all stages; the time in the queue is unknown."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def usd(self) -> Usd:
        """Cost of all stages."""
        return sum((stage.usd for stage in self.stages), Usd())

    @property
    def paid_anyway(self) -> Usd:
        """The part of `usd` for the running time of workers, which cost the same without the job."""
        return Usd(compute=sum(stage.usd.compute for stage in self.stages if stage.paid_anyway))

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data. Seconds; USD; GB are 10^9 bytes."""
        return {
            "billed": self.billed,
            "seconds": round(self.seconds, 3),
            "usd": self.usd.as_record(),
            "paid_anyway_usd": self.paid_anyway.as_record()["total"],
            "stages": [stage.as_record() for stage in self.stages],
            "can_end": not self.obstacles,
            "warnings": [as_record(obstacle) for obstacle in self.obstacles],
            "kafka_gb": round(self.kafka_gb, 6),
            "kafka_days": RETENTION_DAYS,
            "lake_gb": round(self.lake_gb, 6),
            "lake_usd_month": round(self.lake_usd_month, 6),
            "region": self.region,
            "prices_of": self.prices_of,
        }


def quote(work: Work, deployment: Deployment, rates: Rates, prices: Prices) -> Quote:
    """Estimate an import from measured rates and list prices; docs/capacity.md says how accurate that is."""
    quoting = Quoting(
        work=work, deployment=deployment, rates=rates, prices=prices, plans=stage_plans(work, deployment.settings)
    )
    stages = quoting.stages()
    lake_gb = work.published * work.width(rates) * rates.lake.bytes / GB if work.kind == "audience" else 0.0
    return Quote(
        billed=deployment.billed,
        stages=stages,
        obstacles=obstacles(deployment, quoting.plans, stages),
        kafka_gb=quoting.sent_bytes * deployment.replication / GB,
        lake_gb=lake_gb,
        lake_usd_month=lake_gb * prices.s3_gb_month.usd,
        region=prices.function_gb_second.region,
        prices_of=min(getattr(prices, name).date for name in prices.__dataclass_fields__).isoformat(),
    )
