"""Duplicate keys in JSON objects, which strict readers refuse."""

from collections import Counter
from collections.abc import Sequence
from typing import Any


def duplicate_key(pairs: Sequence[tuple[str, Any]]) -> str:
    """The first duplicate key of an object that has one. An object may have 60,000 keys."""
    times = Counter(key for key, _ in pairs)
    return next(key for key, count in times.items() if count > 1)
