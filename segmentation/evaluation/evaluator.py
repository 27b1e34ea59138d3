"""The state of one tenant in one partition, folded from its log: who is in each segment, at an instant T.

The answer at (log so far, T) is that of SQL over the same log at T. Only users are looked at of whom something is new:

1. time: counts fall out of their window, events of the future come; each user is evaluated at every instant at which
   something of him changes, in order, so that a change is told with the instant from which it holds;
2. events, profiles, members: at T, the users in the batch.
A user who has become known is evaluated for all segments: also a rule that asks for nothing but absence is about him.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from schemas.segment_messages import ChangeCause
from segmentation.evaluation.answers import Answers, attribute_mask, of_nothing
from segmentation.evaluation.batches import Changes, EventBatch, ProfileBatch
from segmentation.evaluation.columns import Flags, Micros, Users
from segmentation.evaluation.kinds import Kinds
from segmentation.evaluation.latest import NEVER, NONE
from segmentation.evaluation.marks import Marks
from segmentation.evaluation.pending import Occurrences
from segmentation.evaluation.plan import ActiveRule, AttributeTest, Fact, plan_of
from segmentation.evaluation.state import State
from segmentation.rules.nodes import Events, Member

MAX_USERS: Final = 100_000
"""Users that are evaluated at a time when time has passed: a bound for what is told at once."""


class Evaluator:
    """One tenant, one partition, a fixed set of rules by the names of their segments.

    `state` (none: nothing has happened yet) is taken over; it is of the same plan. Raises `UserError` SEGMENT_CYCLE.
    """

    def __init__(self, rules: Mapping[str, ActiveRule], *, at_us: int = 0, state: State | None = None) -> None:
        self.plan = plan_of(rules)
        self.state = State.empty(self.plan, at_us) if state is None else state
        self.kinds = Kinds(self.plan.keep)
        self._marks = Marks()

    @property
    def at_us(self) -> int:
        """T of the answer."""
        return self.state.at_us

    @property
    def nbytes(self) -> int:
        """Memory of the state, but for events of the future."""
        return self.state.nbytes + self._marks.nbytes

    def members(self, segment: str) -> pa.StringArray:
        """Who is in a segment at T, in no order."""
        return self.state.members(segment)

    def size(self, segment: str) -> int:
        """How many they are."""
        return int(np.count_nonzero(self.state.inside[segment]))

    def take_events(self, batch: EventBatch, at_us: int) -> list[Changes]:
        """Time goes on to `at_us` (never back), then the events count, those of the future when their time comes."""
        changes = self.advance(at_us)
        users, new = self.meet(batch.user_ids)
        touched = self.place(self.kinds.occurrences(batch, users))
        return changes + self._evaluate(touched, self._distinct(users), None, "event", all_rules=new)

    def take_profiles(self, batch: ProfileBatch, at_us: int) -> list[Changes]:
        """Time goes on to `at_us`, then the profiles change."""
        changes = self.advance(at_us)
        users, new = self.meet(batch.user_ids)
        touched = self.apply(batch, users, self.plan.tests)
        return changes + self._evaluate(touched, self._distinct(users), None, "profile", all_rules=new)

    def set_members(self, member: Member, user_ids: pa.StringArray, at_us: int) -> list[Changes]:
        """Time goes on to `at_us`, then these users of the partition, known or not, are the members of an audience."""
        changes = self.advance(at_us)
        if member not in self.state.true:  # no rule names it
            return changes
        users = self.state.index.add(user_ids)
        self.state.fit()
        now = np.zeros(len(self.state.known), np.bool_)
        now[users] = True
        different = np.flatnonzero(now != self.state.true[member]).astype(np.int32)
        self.state.true[member] = now
        return changes + self._evaluate({member: different}, different, None, "members")

    def advance(self, at_us: int) -> list[Changes]:
        """Time goes on to `at_us`; nothing happens where it is not after T."""
        return [change for step in self.steps(at_us) for change in step]

    def steps(self, at_us: int, max_users: int = MAX_USERS) -> Iterator[list[Changes]]:
        """`advance` in bounded steps; T is `at_us` when all of them are done."""
        every = self._due(at_us)
        for start in range(0, len(every), max_users):
            due = self._first(every[start : start + max_users], at_us)
            while len(due.users):
                touched = self._happen(self.state.pending.take(due.users, due.instants))
                for kind, users in due.passed:
                    touched[kind] = np.concatenate((touched.get(kind, users[:0]), users))
                yield self._evaluate(touched, due.users, due.instants, "time")
                due = self._first(due.users, at_us)
        self.state.at_us = max(self.state.at_us, at_us)

    def _due(self, at_us: int) -> Users:
        """Users, ascending, with something due until an instant."""
        some = [self.state.pending.come(at_us).users]
        for count, deadlines in self.state.deadlines.items():
            some.append(self.state.latest[count.events].users(deadlines.passed(at_us)))
        return self._distinct(*some)

    def _first(self, users: Users, at_us: int) -> "_Due":
        """Of some users (distinct, ascending) with something due until an instant the first of it."""
        pending = self.state.pending.come(at_us)
        instants = np.full(len(users), NEVER, np.int64)
        place = np.searchsorted(users, pending.users) if len(pending.users) else pending.users
        mine = np.isin(pending.users, users)
        np.minimum.at(instants, place[mine], pending.occurred_at[mine])
        each: list[tuple[Events, Micros]] = []
        for count, deadlines in self.state.deadlines.items():
            if (of := deadlines.of(self.state.latest[count.events].rows(users), at_us)) is not None:
                np.minimum(instants, of, out=instants)
                each.append((count.events, of))
        due = instants <= at_us
        passed = [(kind, users[due & (of == instants)]) for kind, of in each]
        return _Due(users[due], instants[due], [(kind, of) for kind, of in passed if len(of)])

    def settle(self) -> list[Changes]:
        """Look again at everybody, at T: the rules are new, or the state has been made of something else than a log."""
        everybody = np.flatnonzero(self.state.known).astype(np.int32)
        changes: list[Changes] = []
        for start in range(0, len(everybody), MAX_USERS):
            users = everybody[start : start + MAX_USERS]
            touched: dict[Fact, Users] = {
                kind: users[latest.rows(users) != NONE] for kind, latest in self.state.latest.items()
            }
            changes += self._evaluate(touched, users, None, "rule", all_rules=True)
        return changes

    def meet(self, user_ids: pa.StringArray) -> tuple[Users, bool]:
        """The numbers of users, who are known from now on; and whether any of them was not before."""
        users = self.state.index.add(user_ids)
        self.state.fit()
        new = users[~self.state.known[users]]
        self.state.known[new] = True
        if len(new):
            for test in self.plan.tests:  # nothing is set, which a rule may ask for
                self.state.true[test][new] = of_nothing(test)
        return users, bool(len(new))

    def place(self, events: Occurrences) -> dict[Fact, Users]:
        """What has happened counts, what is yet to happen waits; the users by the kind of what is new of them."""
        later = events.occurred_at > self.state.at_us
        if later.any():
            self.state.pending.add(events.take(later))
            events = events.take(~later)
        return self._happen(events)

    def apply(self, batch: ProfileBatch, users: Users, tests: Iterable[AttributeTest]) -> dict[Fact, Users]:
        """What some tests say of changed profiles; the users by the test that was asked anew."""
        touched: dict[Fact, Users] = {}
        for test in tests:
            changed = np.flatnonzero(batch.mentions(test.condition.column) | batch.deleted)
            if len(changed):
                flags = attribute_mask(test, batch)[changed]
                self.state.true[test][users[changed]] = flags  # of several changes of a user the last one stays
                touched[test] = users[changed]
        return touched

    def _happen(self, events: Occurrences) -> dict[Fact, Users]:
        touched: dict[Fact, Users] = {}
        for number, of in events.by_kind():
            kind = self.kinds[number]
            self.state.latest[kind].add(of.users, of.occurred_at, of.identities)
            touched[kind] = of.users
        return touched

    def _distinct(self, *users: Users) -> Users:
        return self._marks.distinct(len(self.state.index), *users)

    def _evaluate(
        self,
        touched: dict[Fact, Users],
        users: Users,
        instants: Micros | None,
        cause: ChangeCause,
        *,
        all_rules: bool = False,
    ) -> list[Changes]:
        """Look again at users (distinct, ascending), at T or, with `instants`, each at an instant of its own.

        The rules are those of whose facts some is new of some of these users (`touched`), or all. Of the other users
        they say what they have said before.
        """
        at = np.full(len(users), self.state.at_us) if instants is None else instants
        answers = Answers(self.state, users, at)
        changes = []
        for name in self.plan.order:
            active = self.plan.rules[name]
            if active.paused or not (all_rules or self.plan.depends[name] & touched.keys()):
                continue
            now = answers.is_in(active.rule)
            changed = (now != self.state.inside[name][users]) & answers.known
            if not changed.any():
                continue
            who, entered = users[changed], now[changed]
            self.state.inside[name][who] = entered
            member = Member(kind="segment", name=name)
            if member in self.state.true:
                self.state.true[member][who] = entered
                touched[member] = who
            changes.append(
                Changes(
                    segment=name,
                    rule_version=active.version,
                    user_ids=self.state.index.ids(who),
                    entered=entered,
                    effective_at=at[changed],
                    cause=cause,
                )
            )
        of: dict[Events, Flags] = {}
        for count, deadlines in self.state.deadlines.items():
            kind = count.events
            if kind in touched:
                if kind not in of:
                    of[kind] = self._marks.among(users, touched[kind])
                deadlines.set(*answers.deadline(count, self.plan.deadlines[count], of[kind]))
        return changes


class _Due(NamedTuple):
    """What is due first of some users, each at its instant; of `passed`, the kinds of counts, and whose they are."""

    users: Users
    instants: Micros
    passed: list[tuple[Events, Users]]
