"""Time windows as text: `3d`, `90s`, `1d12h`. Exact seconds, independent of the calendar."""

import re
from typing import Final

UNITS: Final = {"w": 7 * 24 * 60 * 60, "d": 24 * 60 * 60, "h": 60 * 60, "m": 60, "s": 1}
WRITTEN: Final = re.compile(r"(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?")
MAX_CHARACTERS: Final = 80
MINUTES: Final = "minutes as a small m, as in 3m; months have no exact length: write 90d"


def window(text: str) -> int | None:
    """Seconds of a window, of any size. None if the text is not a window."""
    found = WRITTEN.fullmatch(text.lower()) if len(text) <= MAX_CHARACTERS else None
    if found is None or not text:
        return None
    return sum(int(number or 0) * seconds for number, seconds in zip(found.groups(), UNITS.values(), strict=True))


def is_ambiguous(text: str) -> bool:
    """Whether a capital M stands where minutes do: people write 3M for three months, which have no exact length."""
    return "M" in text


def window_text(seconds: int) -> str:
    """Seconds as days, hours, minutes and seconds; `window` reads the same value back."""
    parts = []
    for unit in ("d", "h", "m", "s"):
        number, seconds = divmod(seconds, UNITS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts)
