"""The state of one tenant in one partition, folded from its log: the members of each segment at an instant T.

The answer at (log so far, T) equals that of SQL over the same log at T. Only users with new facts are evaluated:

1. time: counts fall out of their window, future events come due; each user is evaluated at every instant at which one
   of the user's facts changes, in order, so that a change carries the instant from which it holds;
2. events, profiles, members: at T, the users in the batch.
A user who becomes known is evaluated for all segments, since a rule may ask for nothing but absence.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import Final

import numpy as np
import pyarrow as pa

from schemas.segment_messages import ChangeCause
from segmentation.evaluation.answers import Answers, Indices, attribute_mask
from segmentation.evaluation.batches import Changes, EventBatch, ProfileBatch
from segmentation.evaluation.columns import Flags, Micros, Users
from segmentation.evaluation.kinds import Kinds
from segmentation.evaluation.latest import NONE
from segmentation.evaluation.marks import Marks
from segmentation.evaluation.pending import Occurrences
from segmentation.evaluation.plan import ActiveRule, AttributeTest, Fact, Numbered, plan_of, timed_fact
from segmentation.evaluation.state import State
from segmentation.rules.nodes import Member

MAX_USERS: Final = 100_000
"""Users evaluated per step as time advances; bounds the changes emitted at once."""

NO_USERS: Final[Users] = np.zeros(0, np.int32)


class Evaluator:
    """One tenant, one partition, a fixed set of rules by segment name.

    `state` (None: empty) must belong to the same plan; the evaluator takes it over. Raises `UserError` SEGMENT_CYCLE.
    """

    def __init__(self, rules: Mapping[str, ActiveRule], *, at_us: int = 0, state: State | None = None) -> None:
        self.plan = plan_of(rules)
        self.state = State.empty(self.plan, at_us) if state is None else state
        self.kinds = Kinds(self.plan.kinds)
        self._marks = Marks()

    @property
    def at_us(self) -> int:
        """T, the instant of the answer."""
        return self.state.at_us

    @property
    def nbytes(self) -> int:
        """Memory of the state, without future events."""
        return self.state.nbytes + self._marks.nbytes

    def members(self, segment: str) -> pa.StringArray:
        """Members of a segment at T, in no order."""
        return self.state.members(segment)

    def size(self, segment: str) -> int:
        """Number of members."""
        return int(np.count_nonzero(self.state.inside[segment]))

    def apply_events(self, batch: EventBatch, at_us: int) -> list[Changes]:
        """Advance time to `at_us` (never back), then apply the events; future ones wait until they are due."""
        changes = self.advance(at_us)
        users, new = self.add_users(batch.user_ids)
        touched = self.insert(self.kinds.occurrences(batch, users))
        return changes + self._evaluate(touched, self._distinct(users), "event", new=new)

    def apply_profiles(self, batch: ProfileBatch, at_us: int) -> list[Changes]:
        """Advance time to `at_us`, then apply the changes of profiles."""
        changes = self.advance(at_us)
        users, new = self.add_users(batch.user_ids)
        touched = self.apply(batch, users, self.plan.tests)
        return changes + self._evaluate(touched, self._distinct(users), "profile", new=new)

    def set_members(self, member: Member, user_ids: pa.StringArray, at_us: int) -> list[Changes]:
        """Advance time to `at_us`, then make these users of the partition, known or not, the members of an audience."""
        changes = self.advance(at_us)
        if member not in self.state.true:  # no rule refers to it
            return changes
        users = self.state.number(user_ids)
        now = np.zeros(len(self.state.known), np.bool_)
        now[users] = True
        different = np.flatnonzero(now != self.state.true[member]).astype(np.int32)
        self.state.true[member] = now
        return changes + self._evaluate({member: different}, different, "members")

    def adopt(self, segment: str, user_ids: pa.StringArray) -> list[Changes]:
        """Make these users the members of a paused segment, whatever its rule; rules that refer to it are evaluated."""
        users = self.state.number(user_ids)
        now = np.zeros(len(self.state.known), np.bool_)
        now[users] = True
        different = np.flatnonzero(now != self.state.inside[segment]).astype(np.int32)
        self.state.inside[segment] = now
        member = Member(kind="segment", name=segment)
        if member not in self.state.true:
            return []
        self.state.true[member] = now.copy()
        return self._evaluate({member: different}, different, "members")

    def advance(self, at_us: int) -> list[Changes]:
        """Advance time to `at_us`; does nothing if T is later already."""
        return [change for step in self.steps(at_us) for change in step]

    @property
    def next_us(self) -> int:
        """Time changes no membership before this instant."""
        return min((self.state.pending.next_us, *(due.next_us for due in self.state.deadlines.values())))

    def steps(self, at_us: int, max_users: int = MAX_USERS) -> Iterator[list[Changes]]:
        """`advance` in bounded steps; T is `at_us` once all of them are done."""
        while (due := self._due(at_us, max_users)) is not None:
            users, instants, passed = due
            touched = self._apply_events(self.state.pending.take(users, instants))
            for fact, of_fact in passed:
                touched[fact] = np.concatenate((touched.get(fact, of_fact[:0]), of_fact))
            yield self._evaluate(touched, users, "time", instants)
        self.state.at_us = max(self.state.at_us, at_us)

    def _due(self, at_us: int, max_users: int) -> tuple[Users, Micros, list[tuple[Fact, Users]]] | None:
        """Users (ascending) with something due up to an instant, the first due instant of each, and what is due.

        What is due: the facts that time changes, each with its users.
        """
        pending = self.state.pending.due(at_us)
        facts: list[Fact] = []
        passed_users = []
        for timed, deadlines in self.state.deadlines.items():
            rows, passed = deadlines.passed(at_us)
            if len(rows):
                facts.append(timed_fact(timed))
                passed_users.append((self.state.users(timed, rows), passed))
        if not passed_users and not len(pending.users):
            return None
        distinct = [*passed_users, (pending.users, pending.occurred_at)]
        users, instants, is_earliest = self._marks.earliest(len(self.state.index), distinct)
        due = [
            (fact, of_fact[first])
            for fact, (of_fact, _), first in zip(facts, passed_users, is_earliest[:-1], strict=True)
        ]
        if len(users) > max_users:
            due = [(fact, of_fact[of_fact < users[max_users]]) for fact, of_fact in due]
            users, instants = users[:max_users], instants[:max_users]
        return users, instants, due

    def settle(self) -> list[Changes]:
        """Evaluate all users at T, after the rules changed or the state was not built from a log."""
        all_users = np.flatnonzero(self._candidates()).astype(np.int32)
        changes: list[Changes] = []
        for start in range(0, len(all_users), MAX_USERS):
            users = all_users[start : start + MAX_USERS]
            touched: dict[Fact, Users] = {
                kind: users[latest.rows(users) != NONE] for kind, latest in self.state.latest.items()
            }
            touched |= dict.fromkeys(self.state.spans, users)
            touched |= {sequence: users[of.has(users)] for sequence, of in self.state.followed.items()}
            touched |= {kind: users[amounts.has(users)] for kind, amounts in self.state.amounts.items()}
            changes += self._evaluate(touched, users, "rule", new=users)
        return changes

    def _candidates(self) -> Flags:
        """Users who are in a segment, or whom some rule asks about: not members of audiences alone, if none does.

        Members of segments are members of what those admit, so that they come with them.
        """
        admitted = {member for active in self.plan.rules.values() for member in active.rule.admits}
        flags = [self.state.true[member] for member in admitted]
        return reduce(np.logical_or, (*self.state.inside.values(), *flags), self.state.known)

    def add_users(self, user_ids: pa.StringArray) -> tuple[Users, Users]:
        """Numbers of users, known from now on, and of those among them who are new."""
        users = self.state.number(user_ids)
        new = users[~self.state.known[users]]
        self.state.known[new] = True
        return users, new

    def insert(self, events: Occurrences) -> dict[Fact, Users]:
        """Apply past events, keep future ones pending; returns the users with new facts, by kind of event."""
        later = events.occurred_at > self.state.at_us
        if later.any():
            self.state.pending.add(events.take(later))
            events = events.take(~later)
        return self._apply_events(events)

    def apply(self, batch: ProfileBatch, users: Users, tests: Iterable[AttributeTest]) -> dict[Fact, Users]:
        """Results of some tests on changed profiles; returns the affected users, by test."""
        touched: dict[Fact, Users] = {}
        for test in tests:
            changed = np.flatnonzero(batch.mentions(test.condition.column) | batch.deleted)
            if len(changed):  # if a user changes several times, the last one wins
                touched[test] = users[changed]
                if test in self.state.spans:
                    dates, timestamps = (
                        batch.current(test.condition.column, t).take(changed) for t in ("date", "timestamp")
                    )
                    self.state.spans[test].set(touched[test], dates, timestamps, self.state.at_us)
                else:
                    self.state.true[test][touched[test]] = attribute_mask(test, batch)[changed]
        return touched

    def _apply_events(self, events: Occurrences) -> dict[Fact, Users]:
        touched: dict[Fact, Users] = {}
        for number, occurrences in events.by_kind():
            kind = self.kinds[number]
            users, times, identities = occurrences.users, occurrences.occurred_at, occurrences.identities
            if isinstance(kind, Numbered):
                self.state.amounts[kind].add(users, times, identities, occurrences.amounts, self.state.at_us)
                touched[kind] = users
            elif kind in self.state.latest:
                self.state.latest[kind].add(users, times, identities)
                touched[kind] = users
            for sequence, step in self.plan.followed.get(kind, ()):
                self.state.followed[sequence].add(step, users, times, identities, self.state.at_us)
                touched[sequence] = np.concatenate((touched.get(sequence, users[:0]), users))
        return touched

    def _distinct(self, *users: Users) -> Users:
        return self._marks.distinct(len(self.state.index), *users)

    def _evaluate(
        self,
        touched: dict[Fact, Users],
        users: Users,
        cause: ChangeCause,
        instants: Micros | None = None,
        new: Users = NO_USERS,
    ) -> list[Changes]:
        """Evaluate `users` (distinct, ascending) again, at T or, with `instants`, each at its own.

        A rule is evaluated for users with a new fact that it depends on (`touched`), and for all `new` users.
        """
        at = np.full(len(users), self.state.at_us) if instants is None else instants
        answers = Answers(self.state, users, at)
        touched_flags = {fact: self._marks.among(users, changed) for fact, changed in touched.items()}
        indices_of_new = self._marks.among(users, new)
        changes = []
        for name in self.plan.order:
            active = self.plan.rules[name]
            flags = [touched_flags[fact] for fact in self.plan.depends[name] if fact in touched_flags]
            if active.paused or not (flags or len(new)):
                continue
            indices = np.flatnonzero(reduce(np.logical_or, flags, indices_of_new))
            affected, now = users[indices], answers.is_in(active.rule, indices)
            changed = now != self.state.inside[name][affected]
            if not changed.any():
                continue
            affected, entered = affected[changed], now[changed]
            self.state.inside[name][affected] = entered
            member = Member(kind="segment", name=name)
            if member in self.state.true:
                self.state.true[member][affected] = entered
                touched_flags[member] = self._marks.among(users, affected)
            changes.append(
                Changes(
                    segment=name,
                    rule_version=active.version,
                    user_ids=self.state.index.ids(affected),
                    entered=entered,
                    effective_at=at[indices[changed]],
                    cause=cause,
                )
            )
        renewed: dict[Fact, Indices] = {}
        for timed, deadlines in self.state.deadlines.items():
            if (fact := timed_fact(timed)) in touched_flags:
                if fact not in renewed:
                    renewed[fact] = np.flatnonzero(touched_flags[fact])
                deadlines.set(*answers.deadlines(timed, self.plan.ranks, renewed[fact]))
        return changes
