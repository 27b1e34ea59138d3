"""Dead letters: records that no worker could process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from orchestration.records.fields import EXAMPLE_TIME, Example, Time

_LETTER: Final[Example] = {
    "dead_letter": 17,
    "topic": "muster.events",
    "partition": 3,
    "offset": 4711,
    "bytes": 90,
    "code": "unknown_tenant",
    "reason": "unknown_tenant: acme",
    "failed_at": EXAMPLE_TIME,
    "starts_with": "7b226e6f",
    "state": "replayed",
    "state_at": EXAMPLE_TIME,
    "state_by": "ann",
    "sent_offset": 4780,
    "refused_as": None,
    "replay_of": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that no worker could process. `starts_with`: its first bytes in hexadecimal.

    `code`: what the reason begins with; null for records of imports. `state_by` and `state_at`: who replayed or
    dismissed it, and when. `interrupted`: its replay ended early, and it is unknown whether the record was sent.
    `sent_offset`: where its new record is, in the same topic and partition. `refused_as`: the dead letter that the new
    record became; `replay_of`: the dead letter whose new record this is.
    """

    dead_letter: int
    topic: str
    partition: int
    offset: int
    bytes: int
    code: str | None
    reason: str
    failed_at: Time
    starts_with: str
    state: Literal["open", "replaying", "interrupted", "replayed", "dismissed"]
    state_at: Time | None
    state_by: str | None
    sent_offset: int | None
    refused_as: int | None
    replay_of: int | None
    example: ClassVar[Example] = _LETTER


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeDeadLetter(DeadLetter):
    """A dead letter with the key and value of its record in base64, and as text if they are UTF-8."""

    key: str | None
    key_text: str | None
    value: str
    value_text: str | None
    example: ClassVar[Example] = {
        **_LETTER,
        "key": None,
        "key_text": None,
        "value": "eyJub3QiOg==",
        "value_text": '{"not":',
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """The newest dead letters, oldest first. `more`: there are earlier ones."""

    items: Sequence[DeadLetter]
    more: bool
    example: ClassVar[Example] = {"items": [_LETTER], "more": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How many were sent; records that workers still cannot process become new dead letters.

    `already`: others of the selection, which were replayed before or dismissed. `more`: there are open ones beyond
    10,000.
    """

    sent: int
    already: int
    more: bool
    example: ClassVar[Example] = {"sent": 2, "already": 0, "more": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismissed:
    """How many were dismissed. `already`: others, which were replayed or dismissed before. `more`: as in `Replayed`."""

    dismissed: int
    already: int
    more: bool
    example: ClassVar[Example] = {"dismissed": 2, "already": 0, "more": False}
