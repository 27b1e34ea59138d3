"""The step from one set of rules to the next: known facts are kept, missing ones are computed from the past.

1. The new evaluator takes over the users from the old one, and every fact that the new rules use, too.
2. `known`, `events`, `profiles` and `members` receive the past of what is missing. Order matters only for profiles.
3. `settle` evaluates all users: the changes are the difference between the answers of the old and the new rules.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from segmentation.evaluation.batches import Changes, EventBatch, ProfileBatch
from segmentation.evaluation.columns import LONG_AGO
from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.kinds import Kinds, events_of_kind
from segmentation.evaluation.pending import Occurrences
from segmentation.evaluation.plan import ActiveRule, Keyed, Kind, kind_of
from segmentation.evaluation.state import State
from segmentation.expressions.literals import SECOND_US
from segmentation.rules.events import Events
from segmentation.rules.nodes import Member
from segmentation.rules.state import needs


class Succession:
    """The new rules over the state of the old ones. `old` must not be used afterwards.

    `kinds`, `tests`, `audiences` are the missing facts. Raises `UserError` SEGMENT_CYCLE.
    """

    def __init__(self, rules: Mapping[str, ActiveRule], old: Evaluator) -> None:
        self._old = old.state
        self._versions = {name: active.version for name, active in old.plan.rules.items()}
        self._new = Evaluator(rules, at_us=old.at_us)
        plan, state = self._new.plan, self._new.state
        kept = {
            kind: old.state.latest[kind]
            for kind, keep in plan.keep.items()
            if _keeps_enough(old.state, kind, keep, self._needed_since(kind))
        }
        state.index, state.known = old.state.index, old.state.known
        state.latest |= kept
        state.inside |= {name: flags for name, flags in old.state.inside.items() if name in state.inside}
        state.grow()
        missing: tuple[Kind, ...] = tuple(kind for kind in plan.keep if kind not in kept)
        for kind in plan.keep:
            if kind not in kept:
                state.latest[kind].since_us = self._needed_since(kind)
        for numbered, amounts in state.amounts.items():
            old_amounts, since_us = old.state.amounts.get(numbered), self._needed_since(numbered)
            if old_amounts is not None and old_amounts.keep >= amounts.keep and old_amounts.since_us <= since_us:
                old_amounts.horizon = amounts.horizon
                state.amounts[numbered] = old_amounts
            else:
                amounts.since_us = since_us
                missing = (*missing, numbered)
        state.followed |= {one: old.state.followed[one] for one in state.followed if one in old.state.followed}
        self._sequences = tuple(one for one in state.followed if one not in old.state.followed)
        steps = (kind for kind, of in plan.followed.items() if any(one in self._sequences for one, _ in of))
        self.kinds = tuple(dict.fromkeys((*missing, *steps)))
        self.tests = tuple(test for test in plan.tests if not old.state.tested(test))
        audiences = tuple(member for member in plan.members if member.kind == "audience")
        self.audiences = tuple(member for member in audiences if member not in old.state.true)
        kept_facts = (*plan.tests, *audiences, *plan.splits)
        state.true |= {one: old.state.true[one] for one in kept_facts if one in old.state.true}
        state.assign(split for split in plan.splits if split not in old.state.true)
        state.spans |= {test: old.state.spans[test] for test in plan.tests if test in old.state.spans}
        for test in self.tests:
            if test in state.true:
                state.true[test][:] = test.true_without_attributes
        for member in plan.members:
            if member.kind == "segment" and member.name in state.inside:
                state.true[member] = state.inside[member.name].copy()
        self._new.insert(_renumbered(old.state.pending.events, old.kinds, self._new.kinds))

    @property
    def since_us(self) -> int | None:
        """Missing facts need only later events than this; None: they need all events."""
        kinds = (*self._new.plan.keep, *self._new.plan.amounts)
        latest = [self._needed_since(kind) for kind in kinds if kind in self.kinds]
        farthest = [max(map(one.horizon_s, range(len(one.steps)))) for one in self._sequences]
        since_us = min((*latest, *(self._new.at_us - s * SECOND_US for s in farthest)), default=self._new.at_us)
        return None if since_us == LONG_AGO else since_us

    def _needed_since(self, kind: Kind) -> int:
        """The new rules need only later events of a kind than this; `LONG_AGO`: they need all."""
        needed = {c: one for active in self._new.plan.rules.values() for c, one in needs(active.rule).items()}
        of_kind = [one for condition, one in needed.items() if kind_of(condition) == kind]
        windows = [one.within_s for one in of_kind if one.within_s is not None]
        return self._new.at_us - max(windows) * SECOND_US if len(windows) == len(of_kind) else LONG_AGO

    @property
    def event_names(self) -> tuple[str, ...]:
        """Names of the missing events."""
        return tuple(sorted({events_of_kind(kind).event for kind in self.kinds}))

    def known(self, user_ids: pa.StringArray) -> None:
        """Add users who have an event or a profile."""
        self._new.add_users(user_ids)

    def events(self, batch: EventBatch) -> None:
        """Add events of any name, possibly repeated; kinds that the old rules used are skipped."""
        users, _ = self._new.add_users(batch.user_ids)
        self._new.insert(self._new.kinds.occurrences(batch, users, self.kinds))

    def profiles(self, batch: ProfileBatch) -> None:
        """Add changes of profiles, in the order in which they apply."""
        users, _ = self._new.add_users(batch.user_ids)
        self._new.apply(batch, users, self.tests)

    def members(self, member: Member, user_ids: pa.StringArray) -> None:
        """Add members of an audience, known or not; calls accumulate."""
        users = self._new.state.number(user_ids)
        self._new.state.true[member][users] = True

    def settle(self) -> tuple[Evaluator, list[Changes]]:
        """The evaluator of the new rules, and the users who enter and leave; all users leave a removed segment."""
        removed = [self._all_leave(name) for name in self._versions if name not in self._new.state.inside]
        return self._new, [changes for changes in removed if len(changes.user_ids)] + self._new.settle()

    def _all_leave(self, segment: str) -> Changes:
        users = self._old.members(segment)
        return Changes(
            segment=segment,
            rule_version=self._versions[segment],
            user_ids=users,
            entered=np.zeros(len(users), np.bool_),
            effective_at=np.full(len(users), self._new.at_us),
            cause="rule",
        )


def _keeps_enough(state: State, kind: Events | Keyed, keep: int, since_us: int) -> bool:
    return kind in state.latest and state.latest[kind].keep >= keep and state.latest[kind].since_us <= since_us


def _renumbered(events: Occurrences, old: Kinds, new: Kinds) -> Occurrences:
    """Future events of the kinds that the new rules use, too; of missing ones they come again with the past."""
    numbers = np.unique(events.kinds).tolist()
    renumbered = {number: new.number(old[number]) for number in numbers if old[number] in new}
    rows = np.isin(events.kinds, list(renumbered))
    kept_events = events.take(rows)
    return kept_events._replace(kinds=np.array([renumbered[number] for number in kept_events.kinds.tolist()], np.int32))
