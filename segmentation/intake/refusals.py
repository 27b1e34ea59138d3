"""Reasons to refuse a producer's record, which goes to the dead letters with a code and a reason."""

from dataclasses import dataclass
from enum import StrEnum


class RefusalCode(StrEnum):
    """Stable codes, which begin the reason of a dead letter. docs/events.md lists what to do about each."""

    UNDECODABLE = "undecodable"
    NO_VALUE = "no_value"
    TOO_LARGE = "too_large"
    BAD_JSON = "bad_json"
    TOO_DEEP = "too_deep"
    DUPLICATE_KEY = "duplicate_key"
    UNKNOWN_MEMBER = "unknown_member"
    BAD_TENANT = "bad_tenant"
    UNKNOWN_TENANT = "unknown_tenant"
    BAD_USER_ID = "bad_user_id"
    KEY_MISMATCH = "key_mismatch"
    WRONG_PARTITION = "wrong_partition"
    BAD_EVENT = "bad_event"
    BAD_EVENT_ID = "bad_event_id"
    BAD_TIME = "bad_time"
    TOO_EARLY = "too_early"
    TOO_FAR_AHEAD = "too_far_ahead"
    BAD_PROPERTY = "bad_property"
    TOO_MANY_PROPERTIES = "too_many_properties"
    BROKEN_CHUNK = "broken_chunk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A refused record, by its offset. A chunk is refused as a whole."""

    offset: int
    code: RefusalCode
    reason: str

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class Refused(Exception):  # noqa: N818  # carries a refusal, is no error
    """Raised where a fault is found; caught where the record's outcome is decided."""

    def __init__(self, code: RefusalCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason

    def at(self, offset: int) -> Refusal:
        """The refusal of the record at an offset."""
        return Refusal(offset=offset, code=self.code, reason=self.reason)
