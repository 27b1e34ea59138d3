"""The state of one tenant in one partition, folded from its log: who is in each segment, at an instant T.

The answer at (log so far, T) is that of SQL over the same log at T. Only users are looked at of whom something is new:

1. time: counts fall out of their window, events of the future come; each user is evaluated at every instant at which
   something of him changes, in order, so that a change is told with the instant from which it holds;
2. events, profiles, members: at T, the users in the batch.
A user who has become known is evaluated for all segments: also a rule that asks for nothing but absence is about him.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import reduce
from typing import Final

import numpy as np
import pyarrow as pa

from schemas.segment_messages import ChangeCause
from segmentation.evaluation.answers import attribute_mask, deadline, holds_count, matching, of_nothing
from segmentation.evaluation.batches import Changes, EventBatch, ProfileBatch
from segmentation.evaluation.columns import Flags, Micros, Users, grown
from segmentation.evaluation.latest import LONG_AGO, NONE, Deadlines, LatestEvents
from segmentation.evaluation.pending import Occurrences, PendingEvents
from segmentation.evaluation.plan import ActiveRule, AttributeTest, Fact, fact, kinds_by_name, plan_of
from segmentation.evaluation.user_index import UserIndex
from segmentation.expressions.literals import EPOCH
from segmentation.rules.nodes import Count, Events, Ever, Member, Never, Rule, RuleCondition, Seen

MAX_USERS: Final = 100_000
"""Users that are evaluated at a time when time has passed: a bound for what is told at once."""


class Evaluator:
    """One tenant, one partition, a fixed set of rules by the names of their segments."""

    def __init__(self, rules: Mapping[str, ActiveRule], *, at_us: int) -> None:
        self._plan = plan_of(rules)
        self._at = at_us
        self._index = UserIndex()
        self._known: Flags = np.zeros(0, np.bool_)
        self._kinds = tuple(self._plan.keep)
        self._number = {kind: number for number, kind in enumerate(self._kinds)}
        self._by_name = kinds_by_name(self._kinds)
        self._latest = {kind: LatestEvents(keep) for kind, keep in self._plan.keep.items()}
        self._deadlines = {count: Deadlines() for count in self._plan.deadlines}
        self._pending = PendingEvents()
        asked: tuple[AttributeTest | Member, ...] = (*self._plan.tests, *self._plan.members)
        self._true: dict[AttributeTest | Member, Flags] = {one: np.zeros(0, np.bool_) for one in asked}
        self._in: dict[str, Flags] = {name: np.zeros(0, np.bool_) for name in self._plan.order}

    @property
    def at_us(self) -> int:
        """T of the answer."""
        return self._at

    @property
    def nbytes(self) -> int:
        """Memory of the state, but for events of the future."""
        flags = sum(column.nbytes for column in (self._known, *self._true.values(), *self._in.values()))
        events = sum(latest.nbytes for latest in self._latest.values())
        return flags + events + self._index.nbytes + sum(due.nbytes for due in self._deadlines.values())

    def members(self, segment: str) -> pa.StringArray:
        """Who is in a segment at T, in no order."""
        return self._index.ids(np.flatnonzero(self._in[segment][: len(self._index)]).astype(np.int32))

    def size(self, segment: str) -> int:
        """How many they are."""
        return int(np.count_nonzero(self._in[segment]))

    def take_events(self, batch: EventBatch, at_us: int) -> list[Changes]:
        """Time goes on to `at_us` (never back), then the events count, those of the future when their time comes."""
        changes = self.advance(at_us)
        users, new = self._numbered(batch.user_ids)
        found = self._occurrences(batch, users)
        later = found.occurred_at > self._at
        self._pending.add(found.take(later))
        touched = self._insert(found.take(~later))
        return changes + self._evaluate(touched, new, None, "event")

    def take_profiles(self, batch: ProfileBatch, at_us: int) -> list[Changes]:
        """Time goes on to `at_us`, then the profiles change."""
        changes = self.advance(at_us)
        users, new = self._numbered(batch.user_ids)
        touched: dict[Fact, Users] = {}
        for test in self._plan.tests:
            changed = np.flatnonzero(batch.mentions(test.condition.column) | batch.deleted)
            if len(changed):
                flags = attribute_mask(test, batch)[changed]
                self._true[test][users[changed]] = flags  # of several changes of a user the last one stays
                touched[test] = np.unique(users[changed])
        return changes + self._evaluate(touched, new, None, "profile")

    def set_members(self, member: Member, user_ids: pa.StringArray, at_us: int) -> list[Changes]:
        """Time goes on to `at_us`, then these users of the partition, known or not, are the members of an audience."""
        changes = self.advance(at_us)
        if member not in self._true:  # no rule names it
            return changes
        users = self._index.add(user_ids)
        self._fit()
        now = np.zeros(len(self._known), np.bool_)
        now[users] = True
        different = np.flatnonzero(now != self._true[member]).astype(np.int32)
        self._true[member] = now
        return changes + self._evaluate({member: different}, np.zeros(0, np.int32), None, "members")

    def advance(self, at_us: int) -> list[Changes]:
        """Time goes on to `at_us`; nothing happens where it is not after T."""
        return [change for step in self.steps(at_us) for change in step]

    def steps(self, at_us: int, max_users: int = MAX_USERS) -> Iterator[list[Changes]]:
        """`advance` in bounded steps; T is `at_us` when all of them are done."""
        while (due := self._due(at_us, max_users)) is not None:
            users, instants = due
            touched = self._insert(self._pending.take(users, instants))
            for count, deadlines in self._deadlines.items():
                rows, passed = deadlines.passed(at_us)
                of = self._latest[count.events].users(rows)
                mine = passed <= _looked_up(users, instants, of)
                touched[count.events] = np.union1d(touched.get(count.events, of[:0]), of[mine])
            yield self._evaluate(touched, users[:0], (users, instants), "time")
        self._at = max(self._at, at_us)

    def _due(self, at_us: int, max_users: int) -> tuple[Users, Micros] | None:
        """Users (ascending) with something due until an instant, and for each when the first of it is."""
        pending = self._pending.come(at_us)
        users, instants = [pending.users], [pending.occurred_at]
        for count, deadlines in self._deadlines.items():
            rows, passed = deadlines.passed(at_us)
            users.append(self._latest[count.events].users(rows))
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

    def _numbered(self, user_ids: pa.StringArray) -> tuple[Users, Users]:
        """The numbers of users, and those of them who become known by it."""
        users = self._index.add(user_ids)
        self._fit()
        distinct = np.unique(users)
        new = distinct[~self._known[distinct]]
        self._known[new] = True
        if len(new):
            for test in self._plan.tests:  # nothing is set, which a rule may ask for
                self._true[test][new] = of_nothing(test)
        return users, new

    def _fit(self) -> None:
        size = len(self._index)
        self._known = grown(self._known, size)
        self._true = {one: grown(flags, len(self._known)) for one, flags in self._true.items()}
        self._in = {name: grown(flags, len(self._known)) for name, flags in self._in.items()}

    def _occurrences(self, batch: EventBatch, users: Users) -> Occurrences:
        """The events of a batch that some rule looks at, for each kind that they are of."""
        encoded = batch.events.dictionary_encode()
        indices = encoded.indices.to_numpy(zero_copy_only=False)
        found = []
        for number, name in enumerate(encoded.dictionary.to_pylist()):
            for kind in self._by_name.get(name, ()):
                rows = np.flatnonzero((indices == number) & matching(kind, batch))
                kinds = np.full(len(rows), self._number[kind], np.int32)
                found.append(Occurrences(kinds, users[rows], batch.occurred_at[rows], batch.identities[rows]))
        return reduce(Occurrences.with_, found, Occurrences.none())

    def _insert(self, events: Occurrences) -> dict[Fact, Users]:
        """Add what has happened; the users by the kind of what is new of them."""
        touched: dict[Fact, Users] = {}
        for number in np.unique(events.kinds).tolist():
            kind = self._kinds[number]
            of = events.take(events.kinds == number)
            self._latest[kind].add(of.users, of.occurred_at, of.identities)
            touched[kind] = np.unique(of.users)
        return touched

    def _evaluate(
        self, touched: dict[Fact, Users], new: Users, due: tuple[Users, Micros] | None, cause: ChangeCause
    ) -> list[Changes]:
        """Look again at the users of whom a fact is new, at T or, with `due`, at an instant of their own."""
        changes = []
        for name in self._plan.order:
            active = self._plan.rules[name]
            users = reduce(np.union1d, (touched[f] for f in self._plan.depends[name] if f in touched), new)
            users = users[self._known[users]].astype(np.int32)
            if not len(users):
                continue
            at = np.full(len(users), self._at) if due is None else _looked_up(*due, users)
            now = self._is_in(active.rule, users, at)
            changed = now != self._in[name][users]
            if not changed.any():
                continue
            users, now, at = users[changed], now[changed], at[changed]
            self._in[name][users] = now
            member = Member(kind="segment", name=name)
            if member in self._true:
                self._true[member][users] = now
                touched[member] = users
            changes.append(
                Changes(
                    segment=name,
                    rule_version=active.version,
                    user_ids=self._index.ids(users),
                    entered=now,
                    effective_at=at,
                    cause=cause,
                )
            )
        for count, deadlines in self._deadlines.items():
            if count.events in touched:
                users = touched[count.events]
                at = np.full(len(users), self._at) if due is None else _looked_up(*due, users)
                latest = self._latest[count.events]
                rows = latest.rows(users)
                deadlines.set(
                    rows[rows != NONE], deadline(count, self._plan.deadlines[count], latest, users, at)[rows != NONE]
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
                return holds_count(condition, self._latest[condition.events], users, at)
            case Ever():
                return self._has(condition.events, users)
            case Never():
                return ~self._has(condition.events, users)
            case Seen():
                latest = self._latest[condition.events]
                seen = latest.first(users) if condition.which == "first" else latest.times(users, 1)
                there = self._has(condition.events, users)
                moment = (condition.moment - EPOCH) // timedelta(microseconds=1)
                right: Flags = (seen < moment) if condition.bound == "before" else (seen >= moment)
                return there & right
            case _:
                of = fact(condition, rule)
                return self._true[of][users]  # type: ignore[index]  # events are above

    def _has(self, kind: Events, users: Users) -> Flags:
        has: Flags = self._latest[kind].rows(users) != NONE
        return has


def _looked_up(users: Users, instants: Micros, wanted: Users) -> Micros:
    """The instant of each wanted user; before all time for users who are not there. `users` are ascending."""
    place = np.searchsorted(users, wanted)
    place = np.where(place < len(users), place, 0)
    return np.where(users[place] == wanted, instants[place], LONG_AGO) if len(users) else np.full(len(wanted), LONG_AGO)
