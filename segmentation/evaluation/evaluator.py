"""The state of one tenant in one partition, folded from its log: who is in each segment, at an instant T.

The answer at (log so far, T) is that of SQL over the same log at T. Only users are looked at of whom something is new:

1. time: counts fall out of their window, events of the future come; each user is evaluated at every instant at which
   something of him changes, in order, so that a change is told with the instant from which it holds;
2. events, profiles, members: at T, the users in the batch.
A user who has become known is evaluated for all segments: also a rule that asks for nothing but absence is about him.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from functools import reduce
from typing import Final

import numpy as np
import pyarrow as pa

from schemas.segment_messages import ChangeCause
from segmentation.evaluation.answers import attribute_mask, deadline, holds_count, of_nothing
from segmentation.evaluation.batches import Changes, EventBatch, ProfileBatch
from segmentation.evaluation.columns import Flags, Micros, Users
from segmentation.evaluation.kinds import Kinds
from segmentation.evaluation.latest import LONG_AGO, NONE
from segmentation.evaluation.pending import Occurrences
from segmentation.evaluation.plan import ActiveRule, AttributeTest, Fact, fact, plan_of
from segmentation.evaluation.state import State
from segmentation.expressions.literals import EPOCH
from segmentation.rules.nodes import Count, Events, Ever, Member, Never, Rule, RuleCondition, Seen

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

    @property
    def at_us(self) -> int:
        """T of the answer."""
        return self.state.at_us

    @property
    def nbytes(self) -> int:
        """Memory of the state, but for events of the future."""
        return self.state.nbytes

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
        found = self.kinds.occurrences(batch, users)
        return changes + self._evaluate(self.place(found), new, None, "event")

    def take_profiles(self, batch: ProfileBatch, at_us: int) -> list[Changes]:
        """Time goes on to `at_us`, then the profiles change."""
        changes = self.advance(at_us)
        users, new = self.meet(batch.user_ids)
        return changes + self._evaluate(self.apply(batch, users, self.plan.tests), new, None, "profile")

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
        return changes + self._evaluate({member: different}, np.zeros(0, np.int32), None, "members")

    def advance(self, at_us: int) -> list[Changes]:
        """Time goes on to `at_us`; nothing happens where it is not after T."""
        return [change for step in self.steps(at_us) for change in step]

    def steps(self, at_us: int, max_users: int = MAX_USERS) -> Iterator[list[Changes]]:
        """`advance` in bounded steps; T is `at_us` when all of them are done."""
        while (due := self._due(at_us, max_users)) is not None:
            users, instants = due
            touched = self._happen(self.state.pending.take(users, instants))
            for count, deadlines in self.state.deadlines.items():
                rows, passed = deadlines.passed(at_us)
                of = self.state.latest[count.events].users(rows)
                mine = passed <= _looked_up(users, instants, of)
                touched[count.events] = np.union1d(touched.get(count.events, of[:0]), of[mine])
            yield self._evaluate(touched, users[:0], (users, instants), "time")
        self.state.at_us = max(self.state.at_us, at_us)

    def _due(self, at_us: int, max_users: int) -> tuple[Users, Micros] | None:
        """Users (ascending) with something due until an instant, and for each when the first of it is."""
        pending = self.state.pending.come(at_us)
        users, instants = [pending.users], [pending.occurred_at]
        for count, deadlines in self.state.deadlines.items():
            rows, passed = deadlines.passed(at_us)
            users.append(self.state.latest[count.events].users(rows))
            instants.append(passed)
        of, when = np.concatenate(users), np.concatenate(instants)
        if not len(of):
            return None
        order = np.lexsort((when, of))
        of, when = of[order], when[order]
        first = np.ones(len(of), np.bool_)
        first[1:] = of[1:] != of[:-1]
        of, when = of[first], when[first]
        if len(of) > max_users:
            earliest = np.sort(np.argpartition(when, max_users)[:max_users])
            of, when = of[earliest], when[earliest]
        return of, when

    def settle(self) -> list[Changes]:
        """Look again at everybody, at T: the rules are new, or the state has been made of something else than a log."""
        touched: dict[Fact, Users] = {kind: latest.every_user() for kind, latest in self.state.latest.items()}
        return self._evaluate(touched, np.flatnonzero(self.state.known).astype(np.int32), None, "rule")

    def meet(self, user_ids: pa.StringArray) -> tuple[Users, Users]:
        """The numbers of users, who are known from now on, and those of them who were not before."""
        users = self.state.index.add(user_ids)
        self.state.fit()
        distinct = np.unique(users)
        new = distinct[~self.state.known[distinct]]
        self.state.known[new] = True
        if len(new):
            for test in self.plan.tests:  # nothing is set, which a rule may ask for
                self.state.true[test][new] = of_nothing(test)
        return users, new

    def place(self, events: Occurrences) -> dict[Fact, Users]:
        """What has happened counts, what is yet to happen waits; the users by the kind of what is new of them."""
        later = events.occurred_at > self.state.at_us
        self.state.pending.add(events.take(later))
        return self._happen(events.take(~later))

    def apply(self, batch: ProfileBatch, users: Users, tests: Iterable[AttributeTest]) -> dict[Fact, Users]:
        """What some tests say of changed profiles; the users by the test that was asked anew."""
        touched: dict[Fact, Users] = {}
        for test in tests:
            changed = np.flatnonzero(batch.mentions(test.condition.column) | batch.deleted)
            if len(changed):
                flags = attribute_mask(test, batch)[changed]
                self.state.true[test][users[changed]] = flags  # of several changes of a user the last one stays
                touched[test] = np.unique(users[changed])
        return touched

    def _happen(self, events: Occurrences) -> dict[Fact, Users]:
        touched: dict[Fact, Users] = {}
        for number in np.unique(events.kinds).tolist():
            kind = self.kinds[number]
            of = events.take(events.kinds == number)
            self.state.latest[kind].add(of.users, of.occurred_at, of.identities)
            touched[kind] = np.unique(of.users)
        return touched

    def _evaluate(
        self, touched: dict[Fact, Users], new: Users, due: tuple[Users, Micros] | None, cause: ChangeCause
    ) -> list[Changes]:
        """Look again at the users of whom a fact is new, at T or, with `due`, at an instant of their own."""
        changes = []
        for name in self.plan.order:
            active = self.plan.rules[name]
            if active.paused:
                continue
            users = reduce(np.union1d, (touched[f] for f in self.plan.depends[name] if f in touched), new)
            users = users[self.state.known[users]].astype(np.int32)
            if not len(users):
                continue
            at = np.full(len(users), self.state.at_us) if due is None else _looked_up(*due, users)
            now = self._is_in(active.rule, users, at)
            changed = now != self.state.inside[name][users]
            if not changed.any():
                continue
            users, now, at = users[changed], now[changed], at[changed]
            self.state.inside[name][users] = now
            member = Member(kind="segment", name=name)
            if member in self.state.true:
                self.state.true[member][users] = now
                touched[member] = users
            changes.append(
                Changes(
                    segment=name,
                    rule_version=active.version,
                    user_ids=self.state.index.ids(users),
                    entered=now,
                    effective_at=at,
                    cause=cause,
                )
            )
        for count, deadlines in self.state.deadlines.items():
            if count.events in touched:
                users = touched[count.events]
                at = np.full(len(users), self.state.at_us) if due is None else _looked_up(*due, users)
                latest = self.state.latest[count.events]
                rows = latest.rows(users)
                deadlines.set(
                    rows[rows != NONE], deadline(count, self.plan.deadlines[count], latest, users, at)[rows != NONE]
                )
        return changes

    def _is_in(self, rule: Rule, users: Users, at: Micros) -> Flags:
        out = np.ones(len(users), np.bool_)
        for group in rule.groups:
            one = reduce(np.logical_or, (self._holds(c, rule, users, at) for c in group.conditions))
            out &= ~one if group.negated else one
        return out

    def _holds(self, condition: RuleCondition, rule: Rule, users: Users, at: Micros) -> Flags:
        match condition:
            case Count():
                return holds_count(condition, self.state.latest[condition.events], users, at)
            case Ever():
                return self._has(condition.events, users)
            case Never():
                return ~self._has(condition.events, users)
            case Seen():
                latest = self.state.latest[condition.events]
                seen = latest.first(users) if condition.which == "first" else latest.times(users, 1)
                there = self._has(condition.events, users)
                moment = (condition.moment - EPOCH) // timedelta(microseconds=1)
                right: Flags = (seen < moment) if condition.bound == "before" else (seen >= moment)
                return there & right
            case _:
                of = fact(condition, rule)
                return self.state.true[of][users]  # type: ignore[index]  # events are above

    def _has(self, kind: Events, users: Users) -> Flags:
        has: Flags = self.state.latest[kind].rows(users) != NONE
        return has


def _looked_up(users: Users, instants: Micros, wanted: Users) -> Micros:
    """The instant of each wanted user; before all time for users who are not there. `users` are ascending."""
    place = np.searchsorted(users, wanted)
    place = np.where(place < len(users), place, 0)
    return np.where(users[place] == wanted, instants[place], LONG_AGO) if len(users) else np.full(len(wanted), LONG_AGO)
