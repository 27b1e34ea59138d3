"""The facts that a set of rules needs about each user, each fact once for all rules that use it."""

from collections.abc import Mapping
from dataclasses import dataclass

from segmentation.expressions.literals import SECOND_US
from segmentation.expressions.nodes import Presence
from segmentation.rules.aggregates import Total
from segmentation.rules.events import Events
from segmentation.rules.nodes import (
    Count,
    Distinct,
    EventCondition,
    Ever,
    Member,
    Never,
    Part,
    Rule,
    Seen,
    SeenNear,
    Split,
    parts_of,
)
from segmentation.rules.references import evaluation_order
from segmentation.rules.relative import AttributeCondition, compares_days, is_relative
from segmentation.rules.sequences import Sequence
from segmentation.rules.state import needs


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRule:
    """The rule of a segment, and its version. `paused`: the members stay unchanged."""

    version: int
    rule: Rule
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeTest:
    """A condition on an attribute; `timezone` is set if the answer depends on when days begin."""

    condition: AttributeCondition
    timezone: str | None

    @property
    def is_timed(self) -> bool:
        """Whether time alone changes the result."""
        return is_relative(self.condition)

    @property
    def true_without_attributes(self) -> bool:
        """Result on a profile without attributes."""
        return isinstance(self.condition, Presence) and not self.condition.present


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """Events told apart by the value of a property; those without one are left out."""

    events: Events
    same: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """Events with the number that a property has; those without one are left out."""

    events: Events
    of: str


Kind = Events | Keyed | Numbered
"""Events that are kept for a rule."""
Fact = Kind | Sequence | AttributeTest | Member | Split
"""A fact about a user that a condition depends on."""
Timed = Count | Distinct | Total | SeenNear | Sequence | AttributeTest
"""What time alone changes the answer of; of the tests, those that are timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`order`: the segments, each after those its rule refers to. `depends`: the facts that a segment's rule uses.

    `keep`: the number of latest events kept of a kind, or values, of keyed events. `amounts`: of the numbers that are
    summed, how many, and how long (microseconds; None: for ever). `kinds`: all that are kept. `followed`: of kinds, the
    sequences with such a step, and its number. `timed`: what changes with time. `ranks`: of counts, the
    events (1: the latest) that change them by leaving the window.
    """

    order: tuple[str, ...]
    rules: Mapping[str, ActiveRule]
    depends: Mapping[str, frozenset[Fact]]
    keep: Mapping[Events | Keyed, int]
    amounts: Mapping[Numbered, tuple[int, int | None]]
    kinds: tuple[Kind, ...]
    followed: Mapping[Kind, tuple[tuple[Sequence, int], ...]]
    timed: tuple[Timed, ...]
    ranks: Mapping[Count | Distinct, tuple[int, ...]]
    tests: tuple[AttributeTest, ...]
    members: tuple[Member, ...]
    splits: tuple[Split, ...]


def plan_of(rules: Mapping[str, ActiveRule]) -> Plan:
    """The plan of `rules`, by segment name. Raises `UserError` SEGMENT_CYCLE."""
    conditions = [(p, active.rule) for active in rules.values() for c in active.rule.conditions for p in parts_of(c)]
    needed = {condition: need for active in rules.values() for condition, need in needs(active.rule).items()}
    keep: dict[Events | Keyed, int] = {}
    amounts: dict[Numbered, tuple[int, int | None]] = {}
    for condition, need in needed.items():  # the earliest is kept in addition to the latest
        kind, horizon = kind_of(condition), None if need.within_s is None else need.within_s * SECOND_US
        if isinstance(kind, Numbered):
            most, longest = amounts.get(kind, (need.keep, horizon))
            longest = None if longest is None or horizon is None else max(longest, horizon)
            amounts[kind] = (max(most, need.keep), longest)
        else:
            keep[kind] = max(keep.get(kind, 1), need.keep)
    facts = [fact(condition, rule) for condition, rule in conditions]
    tests = tuple(dict.fromkeys(f for f in facts if isinstance(f, AttributeTest)))
    ranks = {c: need.deadlines for c, need in needed.items() if isinstance(c, Count | Distinct) and need.deadlines}
    totals = tuple(c for c in needed if isinstance(c, Total) and c.within_s is not None)
    seen = tuple(c for c in needed if isinstance(c, SeenNear))
    sequences = tuple(dict.fromkeys(f for f in facts if isinstance(f, Sequence)))
    followed: dict[Kind, tuple[tuple[Sequence, int], ...]] = {}
    for sequence in sequences:
        for number, step in enumerate(sequence.steps):
            kind = step.events if sequence.same is None else Keyed(events=step.events, same=sequence.same)
            followed[kind] = (*followed.get(kind, ()), (sequence, number))
    return Plan(
        order=evaluation_order({name: active.rule for name, active in rules.items()}),
        rules=dict(rules),
        depends={name: _facts(active.rule) for name, active in rules.items()},
        keep=keep,
        amounts=amounts,
        kinds=tuple(dict.fromkeys((*keep, *amounts, *followed))),
        followed=followed,
        timed=(*ranks, *totals, *seen, *sequences, *(test for test in tests if test.is_timed)),
        ranks=ranks,
        tests=tests,
        members=tuple(dict.fromkeys(f for f in facts if isinstance(f, Member))),
        splits=tuple(dict.fromkeys(f for f in facts if isinstance(f, Split))),
    )


def fact(condition: Part, rule: Rule) -> Fact:
    """The fact that a condition, or a part of one, depends on."""
    match condition:
        case Count() | Distinct() | Ever() | Never() | Seen() | SeenNear() | Total():
            return kind_of(condition)
        case Member() | Split() | Sequence():
            return condition
        case _:
            return AttributeTest(condition=condition, timezone=rule.timezone if compares_days(condition) else None)


def kind_of(condition: EventCondition) -> Kind:
    """The events that are kept for a condition."""
    match condition:
        case Distinct(events=events, of=of):
            return Keyed(events=events, same=of)
        case Total(events=events, of=of):
            return Numbered(events=events, of=of)
        case _:
            return condition.events


def timed_fact(timed: Timed) -> Fact:
    """The fact by which time changes an answer."""
    return timed if isinstance(timed, AttributeTest | Sequence) else kind_of(timed)


def _facts(rule: Rule) -> frozenset[Fact]:
    return frozenset(fact(part, rule) for condition in rule.conditions for part in parts_of(condition))
