"""Keys of JSON objects, which strict readers take once each."""

from collections import Counter
from collections.abc import Sequence
from typing import Any


def doubled_key(pairs: Sequence[tuple[str, Any]]) -> str:
    """The first key of an object that is there more than once; there is one. An object may have 60,000."""
    times = Counter(key for key, _ in pairs)
    return next(key for key, count in times.items() if count > 1)
