"""List prices: `prices.toml`, one price per line, and an optional file of the operator's with overrides.

Prices go stale, so each has its region, its date and its source.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from math import isfinite
from pathlib import Path
from typing import Any, Final

from schemas.errors import UserError

PRICES_FILE: Final = Path(__file__).parent / "prices.toml"
ENTRIES: Final = ("usd", "region", "date", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD for one unit; the unit is in the name of the price."""

    usd: float
    region: str
    date: date
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Every price that a quote or the table of idle costs uses. GB are 10^9 bytes, a month is 730 hours."""

    function_gb_second: Price
    function_request: Price
    function_disk_gb_second: Price
    task_vcpu_hour: Price
    task_gb_hour: Price
    task_disk_gb_hour: Price
    machine_hour: Price
    transition: Price
    s3_put: Price
    s3_get: Price
    s3_gb_month: Price
    zone_gb: Price
    broker_hour: Price
    broker_gb_month: Price
    database_hour: Price
    database_gb_month: Price
    endpoint_hour: Price
    endpoint_gb: Price
    balancer_hour: Price
    balancer_unit_hour: Price
    nat_hour: Price
    nat_gb: Price
    secret_month: Price
    key_month: Price
    alarm_month: Price
    metric_month: Price
    logs_gb: Price


NAMES: Final = tuple(field.name for field in fields(Prices))


def load_prices(override: Path | None = None, *, shipped: Path = PRICES_FILE) -> Prices:
    """The shipped prices, with overrides from `override`.

    Raises `UserError` BAD_SETTINGS naming the file and the line that cannot be used.
    """
    found = _read(shipped)
    if override is not None:
        found |= _read(override)
    if missing := [name for name in NAMES if name not in found]:
        raise UserError("BAD_SETTINGS", f"{shipped}: missing prices: {', '.join(missing)}", names=missing)
    return Prices(**found)


def _read(path: Path) -> dict[str, Price]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UserError("BAD_SETTINGS", f"the price file {path} cannot be read: {exc}", path=str(path)) from exc
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:  # its text names the line
        raise UserError("BAD_SETTINGS", f"{path} is not valid TOML: {exc}", path=str(path)) from exc
    return {name: _price(path, _line(text, name), name, entry) for name, entry in entries.items()}


def _line(text: str, name: str) -> int:
    """The line number of a name; 0 if it is written in an unusual way."""
    key = re.compile(rf"\s*\[?\s*[\"']?{re.escape(name)}[\"']?\s*[\]=.]")
    return next((number for number, line in enumerate(text.splitlines(), 1) if key.match(line)), 0)


def _price(path: Path, line: int, name: str, entry: Any) -> Price:
    def refused(why: str) -> UserError:
        where = f"{path}, line {line}" if line else str(path)
        return UserError("BAD_SETTINGS", f"{where}: {name}: {why}", path=str(path), line=line, name=name)

    if name not in NAMES:
        raise refused(f"unknown price; known prices: {', '.join(NAMES)}")
    if not isinstance(entry, Mapping):
        raise refused(f"write {{ {', '.join(f'{key} = …' for key in ENTRIES)} }}")
    if missing := [key for key in ENTRIES if key not in entry]:
        raise refused(f"lacks {', '.join(missing)}")
    if unknown := sorted(entry.keys() - set(ENTRIES)):
        raise refused(f"unknown fields {', '.join(unknown)}; known fields: {', '.join(ENTRIES)}")
    usd, region, day, source = (entry[key] for key in ENTRIES)
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not isfinite(usd) or usd < 0:
        raise refused(f"usd is {usd!r}, not a number of at least 0")
    if type(day) is not date:
        raise refused(f"date is {day!r}, not a date such as 2026-11-26")
    for key, value in (("region", region), ("source", source)):
        if not isinstance(value, str) or not value.strip():
            raise refused(f"{key} is {value!r}, not a non-blank string")
    return Price(usd=float(usd), region=region, date=day, source=source)
