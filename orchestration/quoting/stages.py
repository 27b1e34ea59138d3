"""The stages of one import, each with its place, seconds and money.

An audience: verify, import, materialise, build (append and remove), publish. Events and profiles: verify, import,
archive, publish. Workers start together with the importer, so materialise and archive are only the work left when the
importer has ended; their cost covers the whole time that the workers are busy.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any, Final, Literal

from connectors.lake.row_groups import FETCH_BYTES
from connectors.storage.reading import BLOCK_BYTES, CONNECTIONS
from orchestration.kinds.compute_target import ComputeTarget
from orchestration.quoting.bills import Usd, function_bill, machine_bill, task_bill, traffic_bill, workers_bill
from orchestration.quoting.deployment import SMALL_FUNCTION, Deployment, function_gb
from orchestration.quoting.pace import backpressure_s, seconds, workers_seconds
from orchestration.quoting.prices import Prices
from orchestration.quoting.rates import Rates, StageRate
from orchestration.quoting.stage_plans import StagePlan, StagePlans
from orchestration.quoting.work import Work
from streams.config import RUN_BYTES, UNACKNOWLEDGED_BYTES, UNACKNOWLEDGED_S

Stage = Literal["workflow", "verify", "import", "materialise", "archive", "build", "publish"]
Where = ComputeTarget | Literal["functions", "workers"]
FIXED_STEPS: Final = 4
"""Small functions: registration, wait for admission, wait for the workers, notification; one more per task."""
FIXED_STATES: Final = 8
"""States around the stages: those of the small functions, the choice after each, and the end."""
STAGE_STATES: Final = 3
"""The choice of a place, the stage, and the choice of the next; after a task also the one that reads its outcome."""
DIVIDED_STATES: Final = 5
"""The plan, the choice after it, the Map, the function that gathers the results, and the choice of the next. Publishing
has a choice of a place and its last run instead of that function."""
UNIT_STATES: Final = 3
"""The start of a child of a Map, the choice of a place, and the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageQuote:
    """One stage. `start_s` of the `seconds` pass until its program runs; `disk_gb` is the local disk that a run needs.

    A divided stage has several `runs`, at most `at_once` side by side; `longest_s`: of one. `paid_anyway`: running time
    of workers that are there without a job, and cost the same then.
    """

    stage: Stage
    where: Where
    seconds: float
    start_s: float
    usd: Usd
    disk_gb: float = 0.0
    paid_anyway: bool = False
    runs: int = 1
    at_once: int = 1
    longest_s: float

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "stage": self.stage,
            "where": self.where,
            "seconds": round(self.seconds, 3),
            "start_s": self.start_s,
            "usd": self.usd.as_record(),
            "disk_gb": round(self.disk_gb, 6),
            "paid_anyway": self.paid_anyway,
            "runs": self.runs,
            "at_once": self.at_once,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoting:
    """Input of the calculation for the stages of one import."""

    work: Work
    deployment: Deployment
    rates: Rates
    prices: Prices
    plans: StagePlans

    def stages(self) -> tuple[StageQuote, ...]:
        """The stages, in the order in which they end."""
        build = (self._build(),) if self.work.builds else ()
        return (self._workflow(), self._verify(), self._import(), self._workers(), *build, self._publish())

    @property
    def rows(self) -> float:
        """Rows, converted to the measured row length."""
        return self.work.measured_rows(self.rates)

    @property
    def sent_bytes(self) -> float:
        """Bytes of the messages, as the producer compresses them."""
        return self.rows * self.rates.kafka.bytes

    @property
    def busy_s(self) -> float:
        """Seconds that the workers need for everything."""
        d = self.deployment
        rate = self.rates.materialise if self.work.kind == "audience" else self.rates.archive
        return workers_seconds(rate, self.rows, partitions=d.partitions, workers=d.workers, vcpu=d.worker.vcpu)

    def _workflow(self) -> StageQuote:
        """The small functions between the stages, and the charge of Step Functions for the whole."""
        planning = sum(plan.divided + (plan.divided and plan.last is None) for plan in self._chosen)
        steps = FIXED_STEPS + self._outcomes + planning
        step_s = self.rates.step_s.value
        bill = function_bill(self.prices, step_s, function_gb(SMALL_FUNCTION))
        children = sum(plan.runs for plan in self._chosen if plan.divided)
        entered = (self.transitions + UNIT_STATES * children) * self.prices.transition.usd
        usd = Usd(compute=steps * bill.compute, requests=steps * bill.requests + entered)
        return StageQuote(
            stage="workflow", where="functions", seconds=steps * step_s, start_s=0.0, usd=usd, longest_s=step_s
        )

    @property
    def transitions(self) -> int:
        """States that an import enters in Step Functions without any retry, without those of units and groups."""
        of_stages = sum(
            DIVIDED_STATES + (plan.last is not None) if plan.divided else STAGE_STATES for plan in self._chosen
        )
        return FIXED_STATES + of_stages + self._outcomes

    @property
    def _outcomes(self) -> int:
        """Tasks whose outcome a function reads."""
        return sum(target != "function" for plan in self._chosen for target in plan.targets)

    @property
    def _chosen(self) -> tuple[StagePlan, ...]:
        """The plans of the stages that have a choice."""
        p = self.plans
        return (p.verify, p.import_, *((p.build,) if self.work.builds else ()), p.publish)

    def _verify(self) -> StageQuote:
        return self._read("verify", self.plans.verify, self.rates.verify, least_s=0.0, sent=0.0)

    def _import(self) -> StageQuote:
        waiting = backpressure_s(self.busy_s, self.rows, self.deployment.backlog_rows * self.work.width(self.rates))
        sent = self.sent_bytes * (self.deployment.replication if self.deployment.traffic_charged else 1)
        return self._read("import", self.plans.import_, self.rates.import_, least_s=waiting, sent=sent)

    def _read(self, stage: Stage, plan: StagePlan, rate: StageRate, *, least_s: float, sent: float) -> StageQuote:
        """A stage that reads the file once: limited by its processors, by its connections to S3, or by its consumer."""
        vcpu = self.deployment.resources(plan.target).vcpu
        from_s3 = self.work.bytes / (self.rates.s3_bytes_s.value * CONNECTIONS)
        busy = max(seconds(rate, self.rows, vcpu), from_s3)
        traffic = traffic_bill(self.prices, sent, self.deployment.zones)
        gets = 1 + self.work.bytes / BLOCK_BYTES  # one pins the object
        usd = traffic + Usd(requests=gets * self.prices.s3_get.usd)
        disk = self.work.bytes * plan.share / 10**9 if self.work.copied else 0.0
        return self._quote(stage, plan, busy, usd, disk, least_s=least_s)

    @property
    def _staged(self) -> bool:
        """Whether it is too long or too large for the workers to hold all of its rows back until the end."""
        held_back = self.sent_bytes / self.deployment.partitions
        return self.busy_s > UNACKNOWLEDGED_S or held_back > UNACKNOWLEDGED_BYTES / 2

    def _workers(self) -> StageQuote:
        """The work left for the workers once the importer has ended, and their total cost."""
        d, p = self.deployment, self.prices
        sending = self._import()
        left = max(0.0, self.busy_s - (sending.seconds - sending.start_s))
        runs = self.sent_bytes / RUN_BYTES if self._staged else 0.0
        parts = self.rows * self.rates.lake.bytes / FETCH_BYTES + d.partitions
        requests = Usd(requests=(runs + parts) * p.s3_put.usd + runs * p.s3_get.usd)
        usd = workers_bill(p, self.busy_s, d.workers, d.worker) + traffic_bill(p, self.sent_bytes, d.zones) + requests
        return StageQuote(
            stage="materialise" if self.work.kind == "audience" else "archive",
            where="workers",
            seconds=left,
            longest_s=left,
            start_s=0.0,
            usd=usd,
            disk_gb=self.rows / d.partitions * self.rates.file.bytes / 10**9,
            paid_anyway=d.workers_always_run(self.work.kind),
        )

    def _build(self) -> StageQuote:
        plan, width = self.plans.build, self.work.width(self.rates)
        merged_rows = self.rows + self.work.base_members * width
        busy = seconds(self.rates.build, merged_rows, self.deployment.resources(plan.target).vcpu)
        groups = merged_rows * self.rates.lake.bytes / FETCH_BYTES + 2 * self.deployment.partitions
        usd = Usd(requests=groups * (self.prices.s3_put.usd + self.prices.s3_get.usd))
        disk = merged_rows / self.deployment.partitions * self.rates.file.bytes / 10**9
        return self._quote("build", plan, busy, usd, disk)

    def _publish(self) -> StageQuote:
        """Every part is read and digested again; for events and profiles the archive is queried for what it holds."""
        plan = self.plans.publish
        members = self.work.published * self.work.width(self.rates)
        busy = seconds(self.rates.publish, members, self.deployment.resources(plan.target).vcpu)
        groups = ceil(members * self.rates.lake.bytes / FETCH_BYTES) + self.deployment.partitions
        return self._quote("publish", plan, busy, Usd(requests=groups * self.prices.s3_get.usd))

    def _quote(
        self, stage: Stage, plan: StagePlan, busy_s: float, usd: Usd, disk_gb: float = 0.0, *, least_s: float = 0.0
    ) -> StageQuote:
        """`busy_s`: of all runs together; `least_s`: how long a consumer keeps the stage at least.

        A function that has ended one run takes the next one without a start, but looks into the catalog again.
        """
        start_s = self._start_s(plan.target)
        again_s = self.rates.step_s.value if plan.target == "function" else start_s
        run_s = max(busy_s * plan.share, least_s / plan.rounds)
        total_s = start_s + (plan.rounds - 1) * again_s + plan.rounds * run_s
        starts_s = plan.at_once * start_s + (plan.runs - plan.at_once) * again_s
        usd += self._bill(plan.target, (starts_s + max(busy_s, least_s * plan.at_once)) / plan.runs, plan.runs)
        if plan.last is not None:
            total_s += self._start_s(plan.last)
            usd += self._bill(plan.last, self._start_s(plan.last), 1)
        return StageQuote(
            stage=stage,
            where=plan.target,
            seconds=total_s,
            start_s=start_s,
            usd=usd,
            disk_gb=disk_gb,
            runs=plan.runs,
            at_once=plan.at_once,
            longest_s=start_s + run_s,
        )

    def _start_s(self, target: ComputeTarget) -> float:
        rates = self.rates
        starts = {"function": rates.function_start_s, "task": rates.task_start_s, "machine": rates.machine_start_s}
        return starts[target].value

    def _bill(self, target: ComputeTarget, run_s: float, runs: int) -> Usd:
        """Of so many runs that take so long each."""
        match target:
            case "function":
                size = self.deployment.resources(target)
                one = function_bill(self.prices, run_s, size.gb, size.disk_gb)
            case "task":
                one = task_bill(self.prices, run_s, self.deployment.task)
            case "machine":
                one = machine_bill(self.prices, run_s)
        return Usd(compute=runs * one.compute, requests=runs * one.requests)
