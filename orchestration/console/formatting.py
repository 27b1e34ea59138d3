"""How values look on pages, the same in both languages; times are turned into the viewer's zone by `console.js`."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from markupsafe import Markup

from orchestration.console.language import Texts

SIZES: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


def number(value: int | None) -> str:
    """1,234; a dash if it is not known."""
    return "–" if value is None else f"{value:,}"


def amount(value: float) -> str:
    """1,234, or 0.4 where a whole number would hide it; nothing but zero is 0."""
    if 0 < value < 0.1:
        return "< 0.1"
    return f"{value:,.1f}" if value < 10 and value != round(value) else f"{value:,.0f}"


def signed(value: int) -> str:
    """+12, −3, 0: with the sign of mathematics."""
    return f"+{value:,}" if value > 0 else f"−{-value:,}" if value else "0"


def size(value: int | None) -> str:
    """3.2 MiB."""
    if value is None:
        return "–"
    amount, unit = float(value), 0
    while amount >= 1024 and unit < len(SIZES) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:,.0f} {SIZES[unit]}" if unit == 0 or amount >= 100 else f"{amount:,.1f} {SIZES[unit]}"


def percent(part: float, whole: float) -> str:
    """62 %; never 100 % before the end, and never 0 % after the beginning."""
    if not whole:
        return "0 %"
    share = 100 * part / whole
    return f"{min(99, max(1, round(share))) if 0 < part < whole else round(share)} %"


def time(at: str | None) -> Markup | str:
    """A time (RFC 3339, UTC). Without scripts, and as a hint, it is in UTC."""
    if at is None:
        return "–"
    utc = f"{at[:10]} {at[11:19]} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at, utc, utc)


def seconds(at: str | None) -> Markup | str:
    """A time that is shown with its seconds."""
    return "–" if at is None else Markup("<span data-seconds>{}</span>").format(time(at))


def duration(seconds: float, t: Texts) -> str:
    """14 s, 3 min 5 s, 2 h 10 min."""
    whole = max(0, round(seconds))
    for unit, length, smaller in (("day", 86400, "hour"), ("hour", 3600, "minute"), ("minute", 60, "second")):
        if whole >= length:
            rest = whole % length // {"hour": 3600, "minute": 60, "second": 1}[smaller]
            first = t(f"unit.{unit}", n=whole // length)
            return f"{first} {t(f'unit.{smaller}', n=rest)}" if rest else first
    return t("unit.second", n=whole)


def precise(seconds: float, t: Texts) -> str:
    """As `duration`, with tenths of a short one."""
    return t("unit.second", n=f"{max(0.0, seconds):.1f}") if seconds < 10 else duration(seconds, t)


def short(id_: str) -> str:
    """The end of an id, where ids of one second differ."""
    return f"…{id_[-6:]}"


def plain(value: object) -> str:
    """A value of JSON, as rules write it."""
    return value if isinstance(value, str) else "true" if value is True else "false" if value is False else str(value)


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "number": number,
    "amount": amount,
    "signed": signed,
    "size": size,
    "time": time,
    "seconds": seconds,
    "short": short,
    "plain": plain,
}
