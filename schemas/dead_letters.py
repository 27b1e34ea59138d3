"""Dead letters that fit in their topic, whatever the record."""

from typing import Final, Literal

from schemas.ids import Partition
from schemas.messages import DeadLetter
from schemas.topics import MESSAGE_MAX_BYTES

DeadLetterState = Literal["open", "replaying", "interrupted", "replayed", "dismissed"]
"""What became of a letter. `interrupted`: its replay ended early, and it is unknown whether its record was sent."""
KEY_MAX_BYTES: Final = 4096
"""Bytes of a key that are kept if the record does not fit as a whole."""
REASON_MAX_CHARACTERS: Final = 4000
"""Reasons quote names, which may have any length."""


def dead_letter(
    *, topic: str, partition: Partition, offset: int, key: bytes | None, value: bytes | None, reason: str, now_us: int
) -> DeadLetter:
    """The record as a dead letter: whole, or truncated if its decompressed size exceeds that of a message."""
    value, reason = value or b"", reason[:REASON_MAX_CHARACTERS]
    size = len(key or b"") + len(value)
    if size > MESSAGE_MAX_BYTES:  # brokers limit only the compressed size of batches
        key = None if key is None else key[:KEY_MAX_BYTES]
        value = value[: MESSAGE_MAX_BYTES - KEY_MAX_BYTES]
        reason += f" (only the beginning of its {size} bytes is kept here)"
    return DeadLetter(
        topic=topic, partition=partition, offset=offset, key=key, value=value, reason=reason, failed_at_us=now_us
    )
