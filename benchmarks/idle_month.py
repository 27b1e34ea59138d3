"""The cost of a month without jobs."""

from dataclasses import dataclass
from typing import Final

from orchestration.deploy.settings import Api
from orchestration.platform.sizes import Relay, Service
from orchestration.quoting.bills import hour_price
from orchestration.quoting.deployment import CPU, FREE_DISK_GB, WORKER, Resources
from orchestration.quoting.prices import Prices
from schemas.metrics import SEGMENT_METRICS, WORKER_METRICS

MONTH_H: Final = 730
RELAY: Final = Resources(vcpu=Relay().cpu / CPU, gb=Relay().memory_mib / 1024, disk_gb=FREE_DISK_GB)
"""As deployed unless the deployment's settings differ."""
API: Final = Resources(vcpu=Api().cpu / CPU, gb=Api().memory_mib / 1024, disk_gb=FREE_DISK_GB)
"""The service of the API, which a deployment has if its settings name a host."""
WORKERS: Final = Service().count
"""Import workers, and as many segment workers: one of each may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Counts of all resources, as in docs/muster-deploy.example.toml.

    `endpoints`: interface endpoints times zones; the S3 gateway costs nothing. `broker_gb`, `database_gb`: disk in GB.
    `metrics`: only those counted from logs; what jobs and requests add is paid for the hours that have some.
    """

    worker: Resources = WORKER
    relay: Resources = RELAY
    workers: int = WORKERS
    segment_workers: int = WORKERS
    relays: int = 1
    keys: int = 1
    alarms: int = 14
    metrics: int = 9
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
SMALLER: Final = {
    "by default": Idle(),
    "one worker of each kind": Idle(workers=1, segment_workers=1),
    "... of half the size": Idle(worker=SMALL_WORKER, relay=SMALL_RELAY, workers=1, segment_workers=1),
    "... without segments": Idle(worker=SMALL_WORKER, relay=SMALL_RELAY, workers=1, segment_workers=0),
}
"""Deployments from the default to the smallest that still takes every job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleLine:
    """One item with a monthly price. `ours`: part of the stack; otherwise the operator provides it."""

    what: str
    count: int
    usd_month: float
    ours: bool


def idle_lines(idle: Idle, prices: Prices) -> tuple[IdleLine, ...]:
    """Items of the stack first, then what the operator provides; items with a count of zero are left out."""
    worker = MONTH_H * hour_price(prices, idle.worker)
    relay = MONTH_H * hour_price(prices, idle.relay)
    written = bool(idle.workers) * len(WORKER_METRICS) + bool(idle.segment_workers) * len(SEGMENT_METRICS)
    lines = (
        ("functions, state machines, rule, task definitions", 1, 0.0, True),
        ("workers that materialise imports", idle.workers, worker, True),
        ("workers of segments", idle.segment_workers, worker, True),
        ("relay", idle.relays, relay, True),
        ("key that encrypts", idle.keys, prices.key_month.usd, True),
        ("alarms", idle.alarms, prices.alarm_month.usd, True),
        ("metrics counted from logs", idle.metrics, prices.metric_month.usd, True),
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
