"""The cost of a month without jobs."""

from dataclasses import dataclass
from typing import Final

from orchestration.deploy.settings import Api
from orchestration.platform.sizes import Relay, Service
from orchestration.quoting.bills import GB, function_bill, hour_price
from orchestration.quoting.deployment import CPU, FREE_DISK_GB, WORKER, ZONES, Resources, function_gb
from orchestration.quoting.prices import Prices
from schemas.metrics import SEGMENT_METRICS, WORKER_METRICS

MONTH_H: Final = 730
RELAY: Final = Resources(vcpu=Relay().cpu / CPU, gb=Relay().memory_mib / 1024, disk_gb=FREE_DISK_GB)
"""As deployed unless the deployment's settings differ."""
API: Final = Resources(vcpu=Api().cpu / CPU, gb=Api().memory_mib / 1024, disk_gb=FREE_DISK_GB)
"""The service of the API, which a deployment has if its settings name a host."""
WORKERS: Final = Service().count
"""The most import workers, and as many segment workers, by default: one of each may be missing."""
DAYS: Final = MONTH_H / 24
CALLS: Final = 60 * MONTH_H
"""Of the watcher of a minute."""
CALL_S: Final = 1.0
"""Assumed for a call of a warm function that asks Kafka and Step Functions; to measure at AWS."""
CALL_KAFKA_BYTES: Final = 30_000
"""Assumed for the answers of the brokers to a call: certificates, members, and offsets of some twenty partitions."""
CALL_LOG_BYTES: Final = 1_500
"""Assumed for the lines of a call: Lambda's own three, and those with metrics."""
WATCHER: Final = "WatchWorkers"
HOUSEKEEPING_MINUTES: Final = 12
"""How long the control plane is there for its daily housekeeping: `idle_minutes`, its start and its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Counts of all resources, as in docs/muster-deploy.example.toml.

    `workers`, `segment_workers`, `relays`: those that run all month. `endpoints`: interface endpoints times zones; the
    S3 gateway costs nothing. `broker_gb`, `database_gb`: disk in GB. `watched`: whether functions look after workers
    that come on demand. `metrics`: those of these functions; what jobs, requests and processes add is paid for the
    hours that have some. `alarms`: metrics in alarms, each of which has its price.
    """

    worker: Resources = WORKER
    relay: Resources = RELAY
    workers: int = 0
    segment_workers: int = 0
    relays: int = 0
    keys: int = 1
    alarms: int = 22
    metrics: int = 4
    watched: bool = True
    secrets: int = 4
    brokers: int = 3
    broker_gb: int = 300
    databases: int = 1
    database_gb: int = 20
    nats: int = 2
    endpoints: int = 0


SMALL_WORKER: Final = Resources(vcpu=0.5, gb=2, disk_gb=FREE_DISK_GB)
"""Twice the largest peak of a worker in docs/performance.md; half as fast as a whole vCPU."""
SMALL_RELAY: Final = Resources(vcpu=0.25, gb=1, disk_gb=FREE_DISK_GB)
ALWAYS: Final = {
    "by default, without active segments": Idle(),
    "... with active segments": Idle(segment_workers=1, relays=1),
    "... of half the size": Idle(worker=SMALL_WORKER, relay=SMALL_RELAY, segment_workers=1, relays=1),
    "one import worker always (`workers.min = 1`)": Idle(workers=1, relays=1),
    "two workers of each kind always (`min = 2`)": Idle(workers=2, segment_workers=2, relays=1, watched=False),
}
"""Deployments by what always runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleLine:
    """One item with a monthly price. `ours`: part of the stack; otherwise the operator provides it."""

    what: str
    count: float
    usd_month: float
    ours: bool


def idle_lines(idle: Idle, prices: Prices) -> tuple[IdleLine, ...]:
    """Items of the stack first, then what the operator provides; items with a count of zero are left out."""
    worker = MONTH_H * hour_price(prices, idle.worker)
    relay = MONTH_H * hour_price(prices, idle.relay)
    daily = HOUSEKEEPING_MINUTES / 60 * hour_price(prices, idle.relay)
    watcher = function_bill(prices, CALL_S, function_gb(WATCHER)).total
    traffic = (ZONES - 1) / ZONES * prices.zone_gb.usd
    resting = idle.watched and not idle.relays
    written = bool(idle.workers) * len(WORKER_METRICS) + bool(idle.segment_workers) * len(SEGMENT_METRICS)
    lines = (
        ("functions, state machines, rule, task definitions", 1, 0.0, True),
        ("workers that materialise imports", idle.workers, worker, True),
        ("workers of segments", idle.segment_workers, worker, True),
        ("relay", idle.relays, relay, True),
        ("days on which the relay comes for housekeeping", resting * round(DAYS), daily, True),
        ("calls of the watcher, one a minute", idle.watched * CALLS, watcher, True),
        ("Kafka's answers to it, GB", idle.watched * round(CALLS * CALL_KAFKA_BYTES / GB, 1), traffic, True),
        ("lines of its log, GB", idle.watched * round(CALLS * CALL_LOG_BYTES / GB, 2), prices.logs_gb.usd, True),
        ("key that encrypts", idle.keys, prices.key_month.usd, True),
        ("alarms, by their metrics", idle.alarms, prices.alarm_month.usd, True),
        ("metrics of the watcher and the hourly call", idle.watched * idle.metrics, prices.metric_month.usd, True),
        ("metrics that workers write", written, prices.metric_month.usd, True),
        ("secrets", idle.secrets, prices.secret_month.usd, False),
        ("brokers", idle.brokers, MONTH_H * prices.broker_hour.usd, False),
        ("disk of the brokers, GB", idle.broker_gb, prices.broker_gb_month.usd, False),
        ("database", idle.databases, MONTH_H * prices.database_hour.usd, False),
        ("disk of the database, GB", idle.database_gb, prices.database_gb_month.usd, False),
        ("interface endpoints, each in each zone", idle.endpoints, MONTH_H * prices.endpoint_hour.usd, False),
        ("NAT gateways", idle.nats, MONTH_H * prices.nat_hour.usd, False),
    )
    return tuple(
        IdleLine(what=what, count=count, usd_month=count * each, ours=ours)
        for what, count, each, ours in lines
        if count
    )
