"""Feeds, which deliver who enters and leaves a segment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from orchestration.records.fields import EXAMPLE_ID, EXAMPLE_TIME, Example, Id, Time

FeedState = Literal["active", "paused", "halted"]
FeedShape = Literal["changes", "state"]
FeedStart = Literal["all", "now"]
FeedPhase = Literal["waiting", "members", "changes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A feed of a segment, and how far it is.

    `state`: halted, if the receiver refuses what comes next. `phase`: waiting for the members of the segment,
    delivering them, or delivering changes. `epoch`: how often it has begun. `behind`: records of the topic that it has
    still to read. `trouble`: why nothing is delivered. `refused`: events that `skip` would leave out.
    `key_number`: how often its key was replaced; until `both_keys_until`, the key before signs too.
    """

    feed: Id
    tenant: str
    name: str
    segment: str
    segment_state: Literal["active", "paused", "deleted", "missing"]
    to: str
    shape: FeedShape
    start: FeedStart
    state: FeedState
    phase: FeedPhase
    epoch: int
    created_at: Time
    delivered: int
    delivered_at: Time | None
    behind: int | None
    seen_at: Time | None
    trouble: Mapping[str, Any] | None
    trouble_since: Time | None
    refused: int | None
    key_number: int
    both_keys_until: Time | None
    revision: ClassVar = ("feed", "state", "epoch", "refused", "key_number")
    example: ClassVar[Example] = {
        "feed": EXAMPLE_ID,
        "tenant": "acme",
        "name": "crm",
        "segment": "buyers",
        "segment_state": "active",
        "to": "kafka://acme.buyers",
        "shape": "changes",
        "start": "all",
        "state": "active",
        "phase": "changes",
        "epoch": 1,
        "created_at": EXAMPLE_TIME,
        "delivered": 12789,
        "delivered_at": EXAMPLE_TIME,
        "behind": 0,
        "seen_at": EXAMPLE_TIME,
        "trouble": None,
        "trouble_since": None,
        "refused": None,
        "key_number": 0,
        "both_keys_until": None,
    }
