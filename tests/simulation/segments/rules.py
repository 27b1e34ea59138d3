"""The rules of schedules: a list of written ones, and sequences and aggregates composed at random."""

import random
from dataclasses import replace
from typing import Final

from segmentation.rules.aggregates import Total
from segmentation.rules.nodes import Rule
from segmentation.rules.parser import parse_rule
from segmentation.rules.sequences import MAX_LATEST, Sequence

WRITTEN: Final = (
    "count(buy, 60s) >= 1",
    "count(buy, 200s) >= 2",
    "count(buy, 30s) = 1 and not age >= 25",
    "count(buy where amount >= 2, 120s) <= 0",
    "count(buy, 600s) <= 1 and ever(view)",
    "in audience vip or ever(refund)",
    "in audience vip and count(buy, 60s) >= 1",
    "never(refund) and not in audience vip",
    "age is set or last(buy) >= 2026-01-01T00:05:00Z",
    'age >= 25 or plan = "gold"',
    "first(buy) < 2026-01-01T00:10:00Z",
    "last(buy) in last 90s or last(view) 30s..200s ago",
    "first(buy) over 200s ago and not renews > now",
    "renews in next 100s or renews 10s..60s ago",
    "count(buy between 2026-01-01T00:02:00Z and 2026-01-01T00:12:00Z) >= 2",
    "rule 2: in audience vip and never(buy)",
    "rule 2: in audience vip and renews is not set",
)
ON_SEGMENTS: Final = (
    "in segment a and never(refund)",
    "not in segment a and count(buy, 100s) >= 1",
    "rule 2: in segment a and not last(buy) in last 60s",
)
AROUND: Final = (
    *("{}", "{}", "{}", "not {}", "{} or ever(refund)", "{} and not age >= 25", "{} and count(buy, 60s) <= 1"),
    "rule 2: in audience vip and not {}",
)
EVENTS: Final = ("buy", "buy", "view", "view", "refund", "buy where amount >= 2", "buy where amount is set")
LENGTHS_S: Final = (1, 30, 60, 60, 90, 200)
"""Differences of the times of events, so that windows and steps often end at one."""
LATEST: Final = (1, 2, 3, MAX_LATEST, MAX_LATEST)


def draw_rule(luck: random.Random, *, on_segments: bool) -> Rule:
    """A rule; `on_segments`: it may name segment a. Sequences and sums get bounds that few events exceed."""
    written = (*WRITTEN, *ON_SEGMENTS, *ON_SEGMENTS) if on_segments else WRITTEN
    kind = luck.choice((_sequence, _aggregate, None, None))
    text = luck.choice(written) if kind is None else luck.choice(AROUND).format(kind(luck))
    latest = luck.choice(LATEST)
    rule = parse_rule(text, timezone="UTC")
    groups = (
        replace(
            group,
            conditions=tuple(
                replace(one, latest=latest) if isinstance(one, Sequence | Total) else one for one in group.conditions
            ),
        )
        for group in rule.groups
    )
    return replace(rule, groups=tuple(groups))


def _sequence(luck: random.Random) -> str:
    number = luck.choice((2, 2, 3))
    negated = luck.choice((None, *range(1, number)))
    steps = luck.choice(EVENTS)
    for at in range(1, number):
        gap_s, within_s = sorted(luck.sample(sorted(set(LENGTHS_S)), 2))
        gap = luck.choice(("", "", f"{gap_s}s.."))
        steps += f" then {'not ' * (at == negated)}{luck.choice(EVENTS)} within {gap}{within_s}s"
    return f"sequence({steps}{luck.choice(('', '', ' same amount'))}, {luck.choice(LENGTHS_S)}s)"


def _aggregate(luck: random.Random) -> str:
    function = luck.choice(("sum", "sum", "avg", "min", "max", "distinct"))
    window = f", {luck.choice(LENGTHS_S)}s"
    if function == "distinct":
        return f"distinct(amount of {luck.choice(EVENTS)}{window}) {luck.choice(('>= 1', '>= 2', '<= 1', '= 0'))}"
    compared = f"{luck.choice(('>=', '>', '<=', '<', '='))} {luck.choice(('0.3', '1', '2', '3', '5'))}"
    return f"{function}(amount of {luck.choice(EVENTS)}{luck.choice((window, window, ''))}) {compared}"
