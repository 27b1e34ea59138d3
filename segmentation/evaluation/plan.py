"""The facts that a set of rules needs about each user, each fact once for all rules that use it."""

from collections.abc import Mapping
from dataclasses import dataclass

from segmentation.expressions.nodes import Presence
from segmentation.rules.events import Events
from segmentation.rules.nodes import Count, Member, OnEvents, Rule, RuleCondition, SeenNear, Split
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
    """Events of a step of a sequence, told apart by the value of a property; those without one are left out."""

    events: Events
    same: str


Kind = Events | Keyed
"""Events that are kept for a rule."""
Fact = Events | Sequence | AttributeTest | Member | Split
"""A fact about a user that a condition depends on."""
Timed = Count | SeenNear | Sequence | AttributeTest
"""What time alone changes the answer of; of the tests, those that are timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`order`: the segments, each after those its rule refers to. `depends`: the facts that a segment's rule uses.

    `keep`: the number of latest events kept of a kind. `kinds`: all that are kept, those of `keep` first. `followed`:
    of kinds, the sequences with such a step, and its number. `timed`: what changes with time. `ranks`: of counts, the
    events (1: the latest) that change them by leaving the window.
    """

    order: tuple[str, ...]
    rules: Mapping[str, ActiveRule]
    depends: Mapping[str, frozenset[Fact]]
    keep: Mapping[Events, int]
    kinds: tuple[Kind, ...]
    followed: Mapping[Kind, tuple[tuple[Sequence, int], ...]]
    timed: tuple[Timed, ...]
    ranks: Mapping[Count, tuple[int, ...]]
    tests: tuple[AttributeTest, ...]
    members: tuple[Member, ...]
    splits: tuple[Split, ...]


def plan_of(rules: Mapping[str, ActiveRule]) -> Plan:
    """The plan of `rules`, by segment name. Raises `UserError` SEGMENT_CYCLE."""
    conditions = [(c, active.rule) for active in rules.values() for c in active.rule.conditions]
    needed = {condition: need for active in rules.values() for condition, need in needs(active.rule).items()}
    keep: dict[Events, int] = {}
    for need in needed.values():  # the earliest is kept in addition to the latest
        keep[need.events] = max(keep.get(need.events, 1), need.keep)
    facts = [fact(condition, rule) for condition, rule in conditions]
    tests = tuple(dict.fromkeys(f for f in facts if isinstance(f, AttributeTest)))
    ranks = {c: need.deadlines for c, need in needed.items() if isinstance(c, Count) and need.deadlines}
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
        kinds=tuple(dict.fromkeys((*keep, *followed))),
        followed=followed,
        timed=(*ranks, *seen, *sequences, *(test for test in tests if test.is_timed)),
        ranks=ranks,
        tests=tests,
        members=tuple(dict.fromkeys(f for f in facts if isinstance(f, Member))),
        splits=tuple(dict.fromkeys(f for f in facts if isinstance(f, Split))),
    )


def fact(condition: RuleCondition, rule: Rule) -> Fact:
    """The fact that a condition depends on."""
    match condition:
        case OnEvents(events=events):
            return events
        case Member() | Split() | Sequence():
            return condition
        case _:
            return AttributeTest(condition=condition, timezone=rule.timezone if compares_days(condition) else None)


def timed_fact(timed: Timed) -> Fact:
    """The fact by which time changes an answer."""
    return timed if isinstance(timed, AttributeTest | Sequence) else timed.events


def _facts(rule: Rule) -> frozenset[Fact]:
    return frozenset(fact(condition, rule) for condition in rule.conditions)
