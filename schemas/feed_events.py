"""Events of feeds: who has entered and who has left a segment, as CloudEvents 1.0 in JSON.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md. The bytes of an event follow from
the message that it is about, so whoever sends it again, at whatever time, sends the same bytes.

Extension `sequence`: of two events of a user, the later one has the greater text. It is `epoch.1.generation.seq.row`
for a change, and `epoch.0.row` for what a feed begins with, in fixed widths.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

from schemas.segment_messages import MembershipChanges

Kind = Literal["entered", "left", "reset"]
TYPES: Final[dict[Kind, str]] = {
    "entered": "io.muster.membership.entered",
    "left": "io.muster.membership.left",
    "reset": "io.muster.membership.reset",
}
CONTENT_TYPE: Final = "application/cloudevents+json"
BATCH_CONTENT_TYPE: Final = "application/cloudevents-batch+json"
MAX_EPOCH: Final = 999_999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Data(msgspec.Struct, frozen=True):
    """Why and since when. `members`: of a reset, how many members were named before it."""

    segment: str
    rule_version: int
    effective_at: str
    cause: str
    members: int | msgspec.UnsetType = msgspec.UNSET


class _Event(msgspec.Struct, frozen=True):
    specversion: str
    id: str
    source: str
    type: str
    time: str
    sequence: str
    data: Data
    subject: str | msgspec.UnsetType = msgspec.UNSET
    datacontenttype: str = "application/json"


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Event).decode


def source_of(tenant: str, segment: str, partition: int) -> str:
    """What emits the events of a partition; sequences are compared within it."""
    return f"/tenants/{tenant}/segments/{segment}/{partition}"


class ChangeNames:
    """Ids and sequences of the changes of one message, by row."""

    def __init__(self, topic_id: str, epoch: int, message: MembershipChanges) -> None:
        self._id = f"{topic_id}.{message.partition}.{message.generation}.{message.seq}."
        self._sequence = f"{epoch:06d}.1.{message.generation:012d}.{message.seq:010d}."

    def of(self, row: int) -> tuple[str, str]:
        """Id and sequence."""
        return f"{self._id}{row}", f"{self._sequence}{row:04d}"


def beginning_names(cut_id: str, epoch: int, partition: int, row: int) -> tuple[str, str]:
    """Id and sequence of the row-th event with which a feed begins in a partition."""
    return f"{cut_id}.{partition}.{row}", f"{epoch:06d}.0.{row:012d}"


def beginning_of(reset: bytes) -> str:
    """How the ids of all events begin with which a feed has begun. `reset`: that of any of its partitions."""
    return f"{id_of(reset)}".partition(".")[0] + "."


def id_of(value: bytes) -> str | None:
    """The id of an event; None if the bytes are none of ours."""
    try:
        found = _decode(value)
    except msgspec.MsgspecError:
        return None
    return found.id if found.type in TYPES.values() else None


def encoded(names: tuple[str, str], source: str, kind: Kind, time: str, data: Data, user: str | None) -> bytes:
    """The bytes of an event. A reset has no user."""
    id_, sequence = names
    subject = msgspec.UNSET if user is None else user
    return _encode(_Event("1.0", id_, source, TYPES[kind], time, sequence, data, subject))


def batch(values: list[bytes]) -> bytes:
    """Events as one JSON array."""
    return b"[" + b",".join(values) + b"]"


def time_text(at_us: int) -> str:
    """RFC 3339 with microseconds."""
    return (_EPOCH + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
