"""Records of the log of changes as messages."""

import logging
from typing import Any, Final

from schemas.codec import CODEC, UndecodableError
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
