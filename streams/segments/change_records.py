"""Records of the log of changes as messages."""

import logging
from typing import Any, Final

from schemas.codec import CODEC, UndecodableError
from schemas.errors import FatalError
from schemas.ids import Partition
from schemas.segment_messages import MembershipChanges, OwnerStarted
from schemas.topics import MEMBERSHIP_CHANGES

_log: Final = logging.getLogger(__name__)


def change_of(record: Any) -> OwnerStarted | MembershipChanges | None:
    """The message of a record. None for what another program wrote there, which is logged and skipped.

    An error would end every owner of the partition at the same record.
    """
    try:
        message = CODEC.decode(record.value)
    except UndecodableError as exc:
        reason = str(exc)
    else:
        if isinstance(message, OwnerStarted | MembershipChanges):
            return message
        reason = f"a {type(message).__name__} does not belong in {MEMBERSHIP_CHANGES}"
    _log.error("skipped: %s offset=%d: %s", MEMBERSHIP_CHANGES, record.offset, reason)
    return None


def check_not_replaced(partition: Partition, generation: int, record: Any) -> None:
    """Raise `FatalError` OWNER_REPLACED if another owner began with this record, after the one of a generation.

    Every record after an owner's own start must pass here: changes that it emits after another start do not count.
    """
    if record.offset > generation and isinstance(change_of(record), OwnerStarted):
        raise owner_replaced(partition, record.offset)


def owner_replaced(partition: Partition, offset: int) -> FatalError:
    """The error for an owner after which another one started, at an offset."""
    return FatalError(
        "OWNER_REPLACED",
        f"{MEMBERSHIP_CHANGES}/{partition}: another worker has taken over at offset {offset}; this one exits, to be "
        "restarted",
        partition=partition,
    )
