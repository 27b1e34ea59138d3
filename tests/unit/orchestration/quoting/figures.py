"""Rates and prices that are easy to calculate with by hand."""

from dataclasses import fields, replace
from datetime import date
from typing import Any

from orchestration.platform.settings import Settings
from orchestration.quoting.deployment import Deployment, Resources
from orchestration.quoting.prices import Price, Prices
from orchestration.quoting.rates import Assumed, ByteRate, Rates, StageRate

MIB = 1024 * 1024


def stage(wall_us: float, cpu_us: float) -> StageRate:
    return StageRate(wall_us=wall_us, cpu_us=cpu_us, source="made up")


def each(value: float) -> Assumed:
    return Assumed(value=value, source="made up")


RATES = Rates(
    verify=stage(1, 2),
    import_=stage(2, 2),
    materialise=stage(8, 4),
    build=stage(4, 4),
    publish=stage(1, 1),
    archive=stage(4, 4),
    whole=stage(12, 12),
    file=ByteRate(bytes=50, source="made up"),
    kafka=ByteRate(bytes=20, source="made up"),
    lake=ByteRate(bytes=10, source="made up"),
    function_start_s=each(5),
    task_start_s=each(60),
    machine_start_s=each(120),
    step_s=each(1),
    s3_bytes_s=each(100e6),
)


def price(usd: float) -> Price:
    return Price(usd=usd, region="nowhere", date=date(2026, 1, 2), source="made up")


FREE = Prices(**{field.name: price(0) for field in fields(Prices)})


def prices(**usd: float) -> Prices:
    """Everything is free except these."""
    changes: dict[str, Any] = {name: price(value) for name, value in usd.items()}
    return replace(FREE, **changes)


def deployed(**settings: Any) -> Deployment:
    """Two workers of two vCPU, eight partitions, tasks of two vCPU; stages are not divided."""
    values: dict[str, Any] = {"s3_endpoint": "", "workers": 2, "partitions": 8, "unit_bytes": 2**60, **settings}
    size = Resources(vcpu=2, gb=4, disk_gb=30)
    return Deployment(settings=Settings(**values), task=size, worker=size)
