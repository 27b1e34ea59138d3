"""The events of a user that a rule needs, so that a stream worker keeps only those.

A few events are enough for each condition, the latest or the single earliest, however many there were: the count in a
window is compared with N, and beyond N + 1 the exact number does not matter. Without a new event, an answer changes
only when one of them leaves the window.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, assert_never

from segmentation.rules.aggregates import Total
from segmentation.rules.events import Events
from segmentation.rules.nodes import Count, Distinct, EventCondition, Ever, Never, Rule, Seen, SeenNear, Which, parts_of

End = Literal["latest", "earliest"]
ENDS: Final[Mapping[Which, End]] = {"last": "latest", "first": "earliest"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The events (identities, with occurred_at <= T) of a user matching `events` that are kept.

    `keep` of them, at most MAX_TIMES + 1, counted from the `end`: `latest` or `earliest`. `within_s`: events with
    occurred_at <= T - within_s may be dropped; None: never. `deadlines`, of a count, are ranks, 1 = the latest: without
    a new event, its answer may change at occurred_at + within_s of an event with such a rank, and at no other time.
    Of different values, the latest event of each is one.
    """

    events: Events
    keep: int
    end: End
    within_s: int | None
    deadlines: tuple[int, ...]


def needs(rule: Rule) -> dict[EventCondition, Need]:
    """The need of each condition on events, or of the parts of one (`parts_of`)."""
    parts = (part for condition in rule.conditions for part in parts_of(condition))
    conditions = (c for c in parts if isinstance(c, EventCondition))
    return {condition: need(condition) for condition in conditions}


def need(condition: EventCondition) -> Need:
    """The need of one condition."""
    match condition:
        case (
            Count(events=events, quantity=quantity, times=times, within_s=within_s)
            | Distinct(events=events, quantity=quantity, times=times, within_s=within_s)
        ):
            deadlines = {"at_least": (times,), "at_most": (times + 1,), "exactly": (times, times + 1)}[quantity]
            ranks = tuple(rank for rank in deadlines if rank > 0)
            leaving = () if within_s is None else ranks
            return Need(events=events, keep=max(ranks), end="latest", within_s=within_s, deadlines=leaving)
        case Total(events=events, latest=latest, within_s=within_s):
            return Need(events=events, keep=latest, end="latest", within_s=within_s, deadlines=())
        case Ever(events=events) | Never(events=events):
            return Need(events=events, keep=1, end="latest", within_s=None, deadlines=())
        case Seen(events=events, which=which):
            return Need(events=events, keep=1, end=ENDS[which], within_s=None, deadlines=())
        case SeenNear(events=events, which=which, distance=distance):
            farthest = distance.after_s if which == "last" else None
            within_s = None if farthest is None else -farthest
            return Need(events=events, keep=1, end=ENDS[which], within_s=within_s, deadlines=())
        case _:
            assert_never(condition)
