"""The tables of docs/capacity.md, computed from rates and prices alone: nothing in them is written by hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

from benchmarks.capacity_model import imports_a_day, kafka_disk_gb, materialised_s, threshold
from benchmarks.idle_month import ALWAYS, API, MONTH_H, WORKERS, Idle, idle_lines
from orchestration.cli.formatting import duration, number, size, usd
from orchestration.kinds.timeouts import LONGEST_S, timeouts
from orchestration.platform.settings import Settings
from orchestration.platform.sizes import COPIES, FUNCTION_DISK_MIB, FUNCTION_DISK_MOST_MIB
from orchestration.quoting.bills import GB, hour_price
from orchestration.quoting.deployment import (
    FUNCTION_LONGEST_S,
    Deployment,
    Resources,
)
from orchestration.quoting.prices import Prices
from orchestration.quoting.quote import RETENTION_DAYS, Quote, quote
from orchestration.quoting.rates import Assumed, ByteRate, Rates, StageRate
from orchestration.quoting.stage_plans import stage_plans
from orchestration.quoting.stages import Quoting, StageQuote
from orchestration.quoting.work import Work
from schemas.columns import ImportMode

SIZES: Final = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
MERGES: Final = ((1_000_000, 10_000_000), (1_000_000, 100_000_000), (100_000_000, 1_000_000_000))
"""Rows appended, and members before."""
MACHINES: Final = (2, 8, 32)
MACHINE_PARTITIONS: Final = 64
WORKER_COUNTS: Final = (1, 2, 4, 8, 16, 32)
PARTITIONS: Final = (8, 32)
TASK_SIZES: Final = (
    Resources(vcpu=1, gb=2, disk_gb=20),
    Resources(vcpu=1, gb=4, disk_gb=20),
    Resources(vcpu=2, gb=8, disk_gb=20),
    Resources(vcpu=4, gb=16, disk_gb=100),
)
HISTORY_MOST: Final = 25_000
TASK_EVENTS: Final = 6
"""Entered, scheduled, started, submitted, succeeded, exited."""
MIB: Final = 1024 * 1024
TASK_MOST: Final = Resources(vcpu=16, gb=120, disk_gb=200)
"""Fargate's limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Input of every table."""

    rates: Rates
    prices: Prices

    def work(self, rows: int, base: int = 0) -> Work:
        """The work of importing a CSV with rows of the measured shape."""
        mode: ImportMode = "append" if base else "replace"
        return Work(rows=rows, bytes=round(rows * self.rates.file.bytes), mode=mode, base_members=base, cut=True)

    def quote(self, work: Work, deployment: Deployment) -> Quote:
        """The quote for one import."""
        return quote(work, deployment, self.rates, self.prices)


def deployed(workers: int = WORKERS, partitions: int = 8) -> Deployment:
    """A deployment with all defaults but these."""
    return Deployment(settings=Settings(s3_endpoint="", workers=workers, min_workers=0, partitions=partitions))


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a column after the first is right-aligned if its cells are figures."""
    rule = [
        "---:" if all(row[k][:1].isdigit() or row[k][:1] in "<–" for row in rows) else "---" for k in range(len(header))
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def rates_table(basis: Basis) -> str:
    """What was measured and what is assumed, each with its source."""
    rows = []
    for field in fields(basis.rates):
        rate, name = getattr(basis.rates, field.name), field.name.removesuffix("_")
        match rate:
            case StageRate():
                rows.append((name, f"{rate.wall_us:.3f} µs a row", f"{rate.cpu_us:.3f} µs", rate.source))
            case ByteRate():
                rows.append((f"{name}, bytes", f"{rate.bytes:.1f} a row", "–", rate.source))
            case Assumed():
                value = f"{size(rate.value)}/s" if name.endswith("bytes_s") else f"{rate.value:g} s"
                rows.append(
                    (name.removesuffix("_bytes_s").removesuffix("_s").replace("_", ", "), value, "–", rate.source)
                )
    return markdown(("rate", "time or size", "processor time", "from"), rows)


def imports_table(basis: Basis) -> str:
    """Time and cost of a replace, by number of users."""
    quotes = [(rows, basis.quote(basis.work(rows), deployed())) for rows in SIZES]
    header = ("users", "file", "verify", "import", "materialise", "publish", "together", "USD")
    lines = []
    for rows, quoted in quotes:
        by = {stage.stage: stage for stage in quoted.stages}
        cells = [placed(by[name]) for name in ("verify", "import")]
        cells += [duration(by["materialise"].seconds), placed(by["publish"])]
        file = size(basis.work(rows).bytes)
        lines.append((number(rows), file, *cells, duration(quoted.seconds), usd(quoted.usd.total)))
    return markdown(header, lines)


def placed(stage: StageQuote) -> str:
    """How long a stage takes, and where."""
    where = stage.where if stage.runs == 1 else f"{number(stage.runs)} x {stage.where}"
    return f"{duration(stage.seconds)} ({where})"


def machines_table(basis: Basis) -> str:
    """Time of a large replace with as many workers as units at once."""
    lines = []
    for rows in (10**9, 10**10):
        for machines in MACHINES:
            settings = deployed(machines, MACHINE_PARTITIONS).settings.with_(units_at_once=machines)
            quoted = basis.quote(basis.work(rows), Deployment(settings=settings))
            by = {stage.stage: stage for stage in quoted.stages}
            cells = [placed(by[name]) for name in ("verify", "import")]
            cells += [duration(by["materialise"].seconds), placed(by["publish"])]
            lines.append((number(rows), str(machines), *cells, duration(quoted.seconds), usd(quoted.usd.total)))
    header = ("users", "machines", "verify", "import", "materialise", "publish", "together", "USD")
    return markdown(header, lines)


def money_table(basis: Basis) -> str:
    """The components of a replace's cost."""
    header = ("users", "functions and tasks", "workers", "requests, transitions", "traffic", "together", "own brokers")
    lines = []
    for rows in SIZES:
        quoted = basis.quote(basis.work(rows), deployed())
        own = basis.quote(basis.work(rows), replace(deployed(), traffic_charged=True))
        spent = quoted.usd
        workers = next(stage.usd.compute for stage in quoted.stages if stage.where == "workers")
        parts = (spent.compute - workers, workers, spent.requests, spent.traffic, spent.total, own.usd.total)
        lines.append((number(rows), *map(usd, parts)))
    return markdown(header, lines)


def kept_table(basis: Basis) -> str:
    """Bytes that an import leaves, and their cost."""
    lines = []
    for rows in SIZES:
        quoted = basis.quote(basis.work(rows), deployed())
        disk = quoted.kafka_gb * basis.prices.broker_gb_month.usd
        cells = (size(quoted.kafka_gb * GB), usd(disk), size(quoted.lake_gb * GB), usd(quoted.lake_usd_month))
        lines.append((number(rows), *cells))
    title = f"brokers' disks, {RETENTION_DAYS:.0f} days"
    return markdown(("users", title, "USD a month of such disk", "lake, until it expires", "USD a month"), lines)


def merges_table(basis: Basis) -> str:
    """Appends: the cost that building adds."""
    lines = []
    for rows, base in MERGES:
        quoted = basis.quote(basis.work(rows, base), deployed())
        by = {stage.stage: stage for stage in quoted.stages}
        cells = [placed(by[name]) for name in ("build", "publish")]
        lines.append((number(rows), number(base), *cells, duration(quoted.seconds), usd(quoted.usd.total)))
    return markdown(("rows appended", "members before", "build", "publish", "together", "USD"), lines)


def workers_table(basis: Basis) -> str:
    """Time until materialised, by number of workers."""
    partitions = PARTITIONS[-1]
    header = ("workers", *(f"{rows / 1e6:,.0f} M users" for rows in SIZES), "imports of 100 M a day", "USD a month")
    lines = []
    for workers in WORKER_COUNTS:
        d = deployed(workers, partitions)
        times = [duration(materialised_s(rows, d, basis.rates)) for rows in SIZES]
        a_day = imports_a_day(100_000_000, d, basis.rates)
        month = Idle(workers=workers, keys=0, alarms=0, watched=False)
        cost = sum(line.usd_month for line in idle_lines(month, basis.prices) if line.ours)
        lines.append((str(workers), *times, number(int(a_day)), usd(cost)))
    return markdown(header, lines)


def disks_table(basis: Basis) -> str:
    """Broker disk by rows per day."""
    d = deployed()
    lines = [
        (number(rows), size(kafka_disk_gb(rows, 1, d, basis.rates) * GB),
         size(kafka_disk_gb(rows, RETENTION_DAYS, d, basis.rates) * GB))
        for rows in SIZES
    ]  # fmt: skip
    return markdown(("rows a day", "all replicas, a day", f"{RETENTION_DAYS:.0f} days"), lines)


def threshold_table(basis: Basis) -> str:
    """Where a task of each size becomes cheaper than a function, and where a function runs for too long."""
    lines = []
    for task in TASK_SIZES:
        for workers in (1, 8):
            d = replace(deployed(workers), task=task)
            found = threshold(d, basis.rates, basis.prices)
            even, long = (
                "never" if rows is None else f"{size(rows * basis.rates.file.bytes)}, {rows / 1e6:,.0f} M rows"
                for rows in (found.break_even_rows, found.function_rows)
            )
            name = f"{task.vcpu:g} vCPU, {task.gb:g} GB"
            lines.append((name, usd(hour_price(basis.prices, task)), str(workers), even, long))
    header = (
        "task",
        "USD an hour",
        "workers",
        "cheaper than a function from",
        f"a function takes {FUNCTION_LONGEST_S // 60} min for",
    )
    return markdown(header, lines)


def default_line(basis: Basis) -> str:
    """Distance of the default of `lambda_file_bytes` from the limits of a function."""
    most = Settings().lambda_file_bytes
    rows = int(most / basis.rates.file.bytes)
    import_ = next(stage for stage in basis.quote(basis.work(rows), deployed(1)).stages if stage.stage == "import")
    found = threshold(deployed(1), basis.rates, basis.prices)
    fifteen = (
        "for ever" if found.function_rows is None else f"up to {size(found.function_rows * basis.rates.file.bytes)}"
    )
    disk = (FUNCTION_DISK_MOST_MIB - FUNCTION_DISK_MIB) // COPIES
    patient = max(mib for mib in range(1, 4096) if max(timeouts(mib * MIB).values()) <= FUNCTION_LONGEST_S)
    return (
        f"- by the rates, with one worker for everything: {fifteen}\n"
        f"- with a tenth of the rates, as the states are timed (`kinds/timeouts.py`): up to {patient} MiB\n"
        f"- by the largest disk of a function, {FUNCTION_DISK_MOST_MIB:,} MiB, on which files lie {COPIES} times while "
        f"they are sorted: up to {disk:,} MiB\n\n"
        f"**The default is {most // MIB} MiB**, below all of them: {rows / 1e6:.1f} M rows of the measured shape, for\n"
        f"which `import` takes {duration(import_.seconds)} in a function with one worker, its start included."
    )


def idle_table(basis: Basis) -> str:
    """A month without a job."""
    lines = idle_lines(Idle(), basis.prices)
    rows = [
        (line.what, f"{line.count:,}", usd(line.usd_month), "the stack" if line.ours else "the operator")
        for line in lines
    ]
    ours, given = (sum(line.usd_month for line in lines if line.ours is mine) for mine in (True, False))
    rows += [
        ("together, of the stack", "–", usd(ours), "the stack"),
        ("together, given", "–", usd(given), "the operator"),
    ]
    return markdown(("what", "how many", "USD a month", "brought by"), rows)


def smallest_table(basis: Basis) -> str:
    """What always runs in a deployment, and what the stack costs then."""
    rows = []
    for what, idle in ALWAYS.items():
        of_stack = sum(line.usd_month for line in idle_lines(idle, basis.prices) if line.ours)
        sizes = [
            f"{count} x {one.vcpu:g} vCPU, {one.gb:g} GB" if count else "–"
            for count, one in (
                (idle.workers, idle.worker),
                (idle.segment_workers, idle.worker),
                (idle.relays, idle.relay),
            )
        ]
        rows.append((what, *sizes, usd(of_stack)))
    return markdown(("deployment", "workers", "workers of segments", "relay", "USD a month, of the stack"), rows)


def service_line(basis: Basis) -> str:
    """The service of the API, which not every deployment has."""
    p = basis.prices
    task, balancer = MONTH_H * hour_price(p, API), MONTH_H * p.balancer_hour.usd
    return (
        f"The service (`[api]`) adds {usd(task + balancer)} USD a month: {usd(task)} for its task ({API.vcpu:g} vCPU, "
        f"{API.gb:g} GB), {usd(balancer)} for the\nload balancer, which also counts what it passes on: "
        f"{usd(MONTH_H * p.balancer_unit_hour.usd)} a month for one unit in constant use."
    )


def endpoints_line(basis: Basis) -> str:
    """NAT gateways or interface endpoints."""
    p = basis.prices
    services, zones = 6, 2
    each = p.endpoint_hour.usd * MONTH_H
    return (
        f"A NAT gateway costs {usd(p.nat_hour.usd * MONTH_H)} USD a month and {usd(p.nat_gb.usd)} a GB. An interface "
        f"endpoint costs {usd(each)} a month in\neach zone and {usd(p.endpoint_gb.usd)} a GB: {services} services in "
        f"{zones} zones {usd(services * zones * each)}."
    )


def limits_table(basis: Basis) -> str:
    """How close an import of the largest size comes to the limits of AWS."""
    rows, d = SIZES[-1], deployed()
    quoted = basis.quote(basis.work(rows, rows), d)
    in_places = [stage for stage in quoted.stages if stage.where != "workers"]
    longest = max(quoted.stages, key=lambda stage: stage.longest_s)
    disk = max(in_places, key=lambda stage: stage.disk_gb)
    worker = next(stage for stage in quoted.stages if stage.where == "workers")
    most = basis.quote(basis.work(int(Settings().lambda_file_bytes / basis.rates.file.bytes)), deployed(1))
    function = max((stage for stage in most.stages if stage.where == "function"), key=lambda stage: stage.seconds)
    events = history_events(basis, basis.work(rows, rows), d)
    lines = [
        (
            f"a function, {FUNCTION_LONGEST_S // 60} min",
            f"the largest file for one: {function.stage} takes {duration(function.seconds)}",
            share(function.seconds, FUNCTION_LONGEST_S),
        ),
        ("a state, 24 h", f"{longest.stage} takes {duration(longest.longest_s)}", share(longest.longest_s, LONGEST_S)),
        (
            f"a Fargate task, {TASK_MOST.vcpu:g} vCPU, {TASK_MOST.gb:g} GB",
            f"{d.task.vcpu:g} vCPU, {d.task.gb:g} GB",
            share(d.task.vcpu, TASK_MOST.vcpu),
        ),
        (
            f"its disk, {TASK_MOST.disk_gb:g} GiB",
            f"{disk.stage} needs {disk.disk_gb:.1f} GB",
            share(disk.disk_gb, TASK_MOST.disk_gb),
        ),
        (
            f"disk of a worker, {d.worker.disk_gb:g} GB",
            f"a partition of {d.partitions} has {worker.disk_gb:.1f} GB",
            share(worker.disk_gb, d.worker.disk_gb),
        ),
        (
            f"history of an execution, {HISTORY_MOST:,} events",
            f"{events} at most when nothing is tried again, whatever the size of the file",
            share(events, HISTORY_MOST),
        ),
    ]
    return markdown(("limit", f"an append of {rows / 1e9:g} G users to as many", "share of it"), lines)


def history_events(basis: Basis, work: Work, deployment: Deployment) -> int:
    """Upper bound of events in an execution without retries: every state counted as a task."""
    plans = stage_plans(work, deployment.settings)
    quoting = Quoting(work=work, deployment=deployment, rates=basis.rates, prices=basis.prices, plans=plans)
    return quoting.transitions * TASK_EVENTS


def check_line(basis: Basis) -> str:
    """The model compared with a measured whole import."""
    rows, r = 5_000_000, basis.rates
    reckoned, measured = r.verify.wall_us + r.materialise.wall_us + r.publish.wall_us, r.whole.wall_us
    return (
        f"{rows / 1e6:g} M rows through the whole workflow on one machine took {measured * rows / 1e6:.1f} s "
        f"({r.whole.source}).\nVerifying, materialising and publishing take {reckoned * rows / 1e6:.1f} s by the rates "
        f"above, {reckoned / measured:.0%} of that; starts and waiting are not in it, which a quote has by the place."
    )


def share(part: float, whole: float) -> str:
    """A part as a share of a limit."""
    return f"{part / whole:.1%}"


TABLES: Final[dict[str, Callable[[Basis], str]]] = {
    "rates": rates_table,
    "imports": imports_table,
    "machines": machines_table,
    "money": money_table,
    "kept": kept_table,
    "appends": merges_table,
    "threshold": threshold_table,
    "default": default_line,
    "workers": workers_table,
    "disks": disks_table,
    "idle": idle_table,
    "smallest": smallest_table,
    "endpoints": endpoints_line,
    "service": service_line,
    "limits": limits_table,
    "check": check_line,
}
"""Tables by their name in the page's markers."""
