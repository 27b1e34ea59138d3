"""Dead letters that fit into their topic, whatever the record is like."""

from typing import Final

from schemas.ids import Partition
from schemas.messages import DeadLetter
from schemas.topics import MESSAGE_MAX_BYTES

KEY_MAX_BYTES: Final = 4096
"""What is kept of a key where not all of a record is."""
REASON_MAX_CHARACTERS: Final = 4000
"""Reasons name what they are about, which may be names of any length."""


def dead_letter(
    *, topic: str, partition: Partition, offset: int, key: bytes | None, value: bytes | None, reason: str, now_us: int
) -> DeadLetter:
    """The record as a dead letter: whole, or the beginning of one that was larger, unpacked, than a message may be."""
    value, reason = value or b"", reason[:REASON_MAX_CHARACTERS]
    size = len(key or b"") + len(value)
    if size > MESSAGE_MAX_BYTES:  # brokers limit what batches have packed
        key = None if key is None else key[:KEY_MAX_BYTES]
        value = value[: MESSAGE_MAX_BYTES - KEY_MAX_BYTES]
        reason += f" (only the beginning of its {size} bytes is kept here)"
    return DeadLetter(
        topic=topic, partition=partition, offset=offset, key=key, value=value, reason=reason, failed_at_us=now_us
    )
