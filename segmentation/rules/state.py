"""What a rule needs to know of the events of a user, so that a stream worker keeps that and no more.

For each condition a few events are enough, the latest or the one earliest, however many there were: the count of a
window is compared with N, and of more than N + 1 it does not matter how many more. Without a new event, an answer
changes only when one of them leaves the window.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

from segmentation.rules.nodes import Count, Events, Ever, Never, OfEvents, Rule, Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What is kept of the events (identities, with occurred_at <= T) of a user that meet `events`.

    `keep` of them, at most MAX_TIMES + 1, from the `end` of those that are `latest` or `earliest`. `within_s`: those of
    occurred_at <= T - within_s may be dropped; None: never. `deadlines` are ranks, 1 = the latest: the answer may
    change at occurred_at + within_s of an event that has such a rank, and at no other time without an event.
    """

    events: Events
    keep: int
    end: Literal["latest", "earliest"]
    within_s: int | None
    deadlines: tuple[int, ...]


def needs(rule: Rule) -> dict[OfEvents, Need]:
    """What each condition on events needs."""
    conditions = (c for c in rule.conditions if isinstance(c, OfEvents))
    return {condition: _need(condition) for condition in conditions}


def _need(condition: OfEvents) -> Need:
    match condition:
        case Count(events=events, quantity=quantity, times=times, within_s=within_s):
            deadlines = {"at_least": (times,), "at_most": (times + 1,), "exactly": (times, times + 1)}[quantity]
            ranks = tuple(rank for rank in deadlines if rank > 0)
            return Need(events=events, keep=max(ranks), end="latest", within_s=within_s, deadlines=ranks)
        case Ever(events=events) | Never(events=events):
            return Need(events=events, keep=1, end="latest", within_s=None, deadlines=())
        case Seen(events=events, which=which):
            end: Literal["latest", "earliest"] = "latest" if which == "last" else "earliest"
            return Need(events=events, keep=1, end=end, within_s=None, deadlines=())
        case _:
            assert_never(condition)
