"""The message in a record of an activity topic: Muster's Avro, or a JSON object."""

from collections.abc import Callable
from typing import Final, TypeVar

from schemas.activity import RECORD_MAX_BYTES
from schemas.codec import CODEC, MARKER, UndecodableError
from schemas.messages import EventRecord, Message, ProfileRecord
from segmentation.intake.refusals import RefusalCode, Refused
from segmentation.intake.topic_records import TopicRecord

REGISTRY_MAGIC: Final = 0
"""First byte written by serializers with a schema registry."""
JSON_SPACE: Final = b" \t\r\n"
R = TypeVar("R", EventRecord, ProfileRecord)


def decode(value: bytes, topic: str, of_json: Callable[[bytes], R]) -> R | Message:
    """Decode a message, of any type. Raises `Refused`; the caller checks the type."""
    if value[: len(MARKER)] == MARKER:
        try:
            message = CODEC.decode(value)
        except UndecodableError as exc:
            raise Refused(RefusalCode.UNDECODABLE, str(exc)) from exc
        if isinstance(message, EventRecord | ProfileRecord):
            _check_size(value)
        return message
    if value[:1] == bytes([REGISTRY_MAGIC]):
        raise Refused(
            RefusalCode.UNDECODABLE,
            "it has the format of schema registry serializers; send Avro single-object encoding, or JSON",
        )
    if value.lstrip(JSON_SPACE)[:1] != b"{":
        raise Refused(
            RefusalCode.UNDECODABLE, f"the record in {topic} begins neither with C3 01 (Avro) nor with a JSON object"
        )
    _check_size(value)
    return of_json(value)


def check_key(record: TopicRecord, user_id: str) -> None:
    """A record without a key may be in its user's partition; any other key is a mistake. Raises `Refused`."""
    if record.key is not None and record.key != user_id.encode("utf-8", "surrogatepass"):
        shown = record.key[:80].decode("utf-8", "backslashreplace")
        raise Refused(RefusalCode.KEY_MISMATCH, f"the key is {shown!r}, not the user id in UTF-8")


def _check_size(value: bytes) -> None:
    if len(value) > RECORD_MAX_BYTES:
        raise Refused(RefusalCode.TOO_LARGE, f"{len(value)} bytes; a record may have at most {RECORD_MAX_BYTES}")
