"""The one place that reads the wall clock and the random source; code below takes them as arguments."""

import os
import time
from datetime import UTC, datetime

from schemas.ids import JobId, new_job_id


def now_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def fresh_id() -> JobId:
    """A new job or audience id."""
    return new_job_id(now_ms(), os.urandom(10))


def fresh_secret() -> bytes:
    """32 random bytes, for a token."""
    return os.urandom(32)


def iso(at_ms: int) -> str:
    """RFC 3339 text in UTC with milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
