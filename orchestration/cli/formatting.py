"""Numbers, sizes, times and untrusted text in readable form. Pure."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

_RECORDED: Final = re.compile(r"\b([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?Z")
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def number(value: int | None) -> str:
    """1234567 -> 1,234,567; None -> -."""
    return "-" if value is None else f"{value:,}"


def counted(value: int, noun: str) -> str:
    """A number of things whose plural takes an s: 1 -> 1 file, 2,000 -> 2,000 files."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def size(value: float) -> str:
    """Bytes in decimal units, three digits: 215,000,000 -> 215 MB."""
    amount = float(value)
    for unit in _UNITS:
        if amount < 999.5 or unit == _UNITS[-1]:
            digits = 0 if unit == "B" or amount >= 99.95 else 1
            return f"{amount:.{digits}f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")


def rate(value: float, unit: str) -> str:
    """A rate per second: bytes as a size, everything else in thousands or millions."""
    if unit == "bytes":
        return f"{size(value)}/s"
    for limit, letter in ((1_000_000, " M"), (1_000, " k")):
        if value >= limit:
            return f"{value / limit:.1f}{letter} {unit}/s"
    return f"{value:.0f} {unit}/s"


def duration(seconds: float) -> str:
    """A time span in its largest fitting unit, from a minute on in two units: 65 -> 1 min 5 s."""
    total = max(0, round(seconds))
    if total < 60:
        return f"{total} s"
    minutes, rest = divmod(total, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def usd(value: float) -> str:
    """Money: 1234.5 -> 1,234.50; four decimals below one; `< 0.0001` for smaller amounts."""
    if value >= 1:
        return f"{value:,.2f}"
    return "< 0.0001" if 0 < value < 0.00005 else f"{value:.4f}"


def age(at_ms: int, now_ms: int) -> str:
    """How long ago, in one unit."""
    seconds = max(0, (now_ms - at_ms) // 1000)
    for limit, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= limit:
            return f"{seconds // limit} {unit}"
    return f"{seconds} s"


def clock_time(at_ms: int) -> str:
    """2026-11-24 18:12:58 UTC, without the zone."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def text_time(at: str) -> str:
    """The time of a record, 2026-11-24T18:12:58.123Z, as `clock_time`."""
    return at[:19].replace("T", " ")


def without_iso(text: str) -> str:
    """A text whose times of records, 2026-11-24T18:12:58.123Z, are written as those of the columns beside it."""
    return _RECORDED.sub(r"\1 \2", text)


def time_ms(at: str) -> int:
    """The time of a record in milliseconds since 1970."""
    return round(datetime.fromisoformat(at).timestamp() * 1000)


def bar(share: float, width: int = 16) -> str:
    """A bar of `width` characters, filled by a share from 0 to 1."""
    filled = min(width, max(0, int(share * width)))
    return "━" * filled + "─" * (width - filled)


def percent(done: int, total: int) -> str:
    """Whole percent, right-aligned in five characters; 100 only when everything is done."""
    share = 100 if total <= 0 or done >= total else min(99, done * 100 // total)
    return f"{share:3d} %"


def member_pairs(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values about members of a rule's audiences of whom nothing else is known; receipts may have none."""
    return [
        *(("outside", text) for text in outside_texts(found.get("outside", ()))),
        *(("known only by", f"audience {text}") for text in only_by_texts(found.get("known_only_by") or ())),
    ]


def only_by_texts(known_only_by: Sequence[Mapping[str, Any]]) -> list[str]:
    """`vip: 1,700 users (no event, no profile)` for each audience with such users."""
    return [
        f"{one['audience']}: {counted(one['users'], 'user')} (no event, no profile)"
        for one in known_only_by
        if one["users"]
    ]


def outside_texts(outside: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """One text per audience of a rule with members that the rule cannot ask about, with their number."""
    if outside is None:
        return ["not counted"]
    shown = [(one["users"], one["audience"]) for one in outside if one["users"]]
    return [f"{counted(users, 'member')} of {audience} (no event, no profile)" for users, audience in shown]


def left_out_texts(bounded: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the sums and averages of a rule leave out, with the condition."""
    found = []
    for one in bounded:
        if users := one["users"]:
            have = "has" if users == 1 else "have"
            latest = number(one["latest"])
            found.append(
                f"{counted(users, 'user')} {have} more than {latest} events in {safe(one['condition'])}, whose "
                f"latest {latest} count"
            )
        if numbers := one["left_out"]:
            found.append(f"{counted(numbers, 'number')} too large for {safe(one['condition'])}")
    return found


def some_of(count: int, examples: Sequence[str]) -> str:
    """How many users, and the names of some."""
    shown = ", ".join(map(safe, examples))
    return number(count) if not examples else f"{number(count)}: {shown}{', ...' if count > len(examples) else ''}"


def safe(text: object) -> str:
    """Untrusted text on one line of a terminal: control characters become escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def without_controls(value: object) -> object:
    """A CSV cell: control characters in a text become escapes, except line breaks and tabs, which CSV quotes."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() or c in "\n\r\t" else ascii(c)[1:-1] for c in value)


def shorten(text: str, width: int) -> str:
    """Text of at most `width` characters; a longer one is cut in the middle."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
