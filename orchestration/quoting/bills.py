"""Money: what seconds, requests and bytes cost at list prices."""

from dataclasses import dataclass
from typing import Final, Self

from orchestration.quoting.deployment import FREE_DISK_GB, FREE_FUNCTION_DISK_GB, Resources
from orchestration.quoting.prices import Prices

HOUR_S: Final = 3600
GB: Final = 10**9
DIGITS: Final = 6
"""Decimal places of USD in JSON: a millionth."""
LEAST_S: Final = 60
"""Fargate and EC2 bill at least a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usd:
    """USD by purpose: running time, requests and transitions, traffic between zones."""

    compute: float = 0.0
    requests: float = 0.0
    traffic: float = 0.0

    @property
    def total(self) -> float:
        """The sum."""
        return self.compute + self.requests + self.traffic

    def __add__(self, other: Self) -> "Usd":
        return Usd(
            compute=self.compute + other.compute,
            requests=self.requests + other.requests,
            traffic=self.traffic + other.traffic,
        )

    def as_record(self) -> dict[str, float]:
        """Plain JSON data."""
        parts = {"compute": self.compute, "requests": self.requests, "traffic": self.traffic, "total": self.total}
        return {name: round(usd, DIGITS) for name, usd in parts.items()}


def function_bill(prices: Prices, seconds: float, gb: float, disk_gb: float = FREE_FUNCTION_DISK_GB) -> Usd:
    """One invocation."""
    disk = max(0.0, disk_gb - FREE_FUNCTION_DISK_GB) * prices.function_disk_gb_second.usd
    return Usd(compute=seconds * (gb * prices.function_gb_second.usd + disk), requests=prices.function_request.usd)


def hour_price(prices: Prices, size: Resources) -> float:
    """USD for an hour of a Fargate task of this size."""
    disk = max(0.0, size.disk_gb - FREE_DISK_GB)
    return (
        size.vcpu * prices.task_vcpu_hour.usd + size.gb * prices.task_gb_hour.usd + disk * prices.task_disk_gb_hour.usd
    )


def task_bill(prices: Prices, seconds: float, size: Resources) -> Usd:
    """One Fargate task."""
    return Usd(compute=max(seconds, LEAST_S) / HOUR_S * hour_price(prices, size))


def machine_bill(prices: Prices, seconds: float) -> Usd:
    """One EC2 instance for one task. It is billed from its start until it is scaled in, which is not counted."""
    return Usd(compute=max(seconds, LEAST_S) / HOUR_S * prices.machine_hour.usd)


def workers_bill(prices: Prices, seconds: float, workers: int, size: Resources) -> Usd:
    """The hours of the stream workers that a job keeps busy, without the time that they outlast it."""
    return Usd(compute=seconds / HOUR_S * workers * hour_price(prices, size))


def traffic_bill(prices: Prices, sent_bytes: float, zones: int) -> Usd:
    """Bytes between a client and a broker: in all cases but one in `zones`, the other end is in another zone."""
    return Usd(traffic=sent_bytes / GB * (zones - 1) / zones * prices.zone_gb.usd)
