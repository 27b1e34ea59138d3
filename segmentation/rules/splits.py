"""Shares of users by a hash of their ids: fixed for ever, equal in every engine, and independent between names."""

from hashlib import sha256
from typing import Final

BUCKETS: Final = 10_000
DIGITS: Final = 13
"""Hexadecimal digits of the hash: 52 bits, which every engine has as a whole number."""


def bucket(name: str, user_id: str) -> int:
    """The bucket of a user in a split, 0 to `BUCKETS` - 1. `winter` has u1 in 1760."""
    return int(sha256(f"{name}:{user_id}".encode()).hexdigest()[:DIGITS], 16) % BUCKETS
