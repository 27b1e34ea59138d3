"""Recovery of a new owner: from the state of a checkpoint to the position of previous owners, without emitting.

Changes already emitted are read from the log of changes. The new owner folds events, profiles and activations again, in
other batches and at other instants than its predecessors, and holds back its own changes. Once it has reached every
position at which a change was emitted, it emits the difference between its answer and the last emitted one: so no
`left` is lost with the owner that emitted `entered`, and nothing is emitted twice.

The members of a paused segment are those last emitted: the new owner folds the pause after other records, and a paused
segment emits nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.ids import AudienceName, TenantName
from schemas.segment_messages import ChangeCause
from segmentation.evaluation.batches import Changes
from segmentation.evaluation.columns import Flags, Micros
from segmentation.evaluation.user_index import UserIndex
from segmentation.partitions.log_position import LogPosition
from segmentation.partitions.partition import Emission, PartitionSegments

Segment = tuple[TenantName, AudienceName]


@dataclass(slots=True)
class _Account:
    """Emitted state of one segment: its members, and the causes of later changes."""

    rule_version: int
    index: UserIndex = field(default_factory=UserIndex)
    inside: Flags = field(default_factory=lambda: np.zeros(0, np.bool_))
    effective_at: Micros = field(default_factory=lambda: np.zeros(0, np.int64))
    causes: dict[int, ChangeCause] = field(default_factory=dict)

    def numbers(self, user_ids: pa.StringArray) -> npt.NDArray[np.int32]:
        """Numbers of these users; new ones were not members."""
        users = self.index.add(user_ids)
        more = len(self.index) - len(self.inside)
        self.inside = np.concatenate((self.inside, np.zeros(more, np.bool_)))
        self.effective_at = np.concatenate((self.effective_at, np.zeros(more, np.int64)))
        return users


class Recovery:
    """State between the assignment of a partition and the first change of its new owner.

    `complete`: `segments` come from a checkpoint, so all emitted changes are known, however old.
    """

    def __init__(self, segments: PartitionSegments, *, complete: bool) -> None:
        self._complete = complete
        self._accounts: dict[Segment, _Account] = {}
        self._target = segments.position
        for tenant, of_tenant in segments.tenants.items():
            for name, active in of_tenant.rules.items():
                account = self._account((tenant, AudienceName(name)), active.version)
                users = account.numbers(of_tenant.evaluator.members(name))
                account.inside[users] = True

    @property
    def target(self) -> LogPosition:
        """The position to reach before the difference is emitted."""
        return self._target

    def emitted(self, tenant: TenantName, changes: Changes, position: LogPosition) -> None:
        """Add changes that a previous owner emitted, later than all given before."""
        account = self._account((tenant, AudienceName(changes.segment)), changes.rule_version)
        users = account.numbers(changes.user_ids)
        account.inside[users] = changes.entered
        self._target = self._target.later(position)

    def extend_to(self, position: LogPosition) -> None:
        """Extend the target to this position."""
        self._target = self._target.later(position)

    def limit_to(self, position: LogPosition) -> None:
        """Limit the target to these offsets: later ones, and their effects, belong to logs that no longer exist."""
        target = self._target
        self._target = replace(
            target,
            events=min(target.events, position.events),
            profiles=min(target.profiles, position.profiles),
            activations=min(target.activations, position.activations),
        )

    def hold_back(self, emitted: Iterable[Emission]) -> None:
        """Record changes that the new owner would have emitted, for the instant and cause of each difference."""
        for one in emitted:
            account = self._account((one.tenant, AudienceName(one.changes.segment)), one.changes.rule_version)
            users = account.numbers(one.changes.user_ids)
            account.effective_at[users] = one.changes.effective_at
            account.causes |= dict.fromkeys(users.tolist(), one.changes.cause)

    def difference(self, segments: PartitionSegments) -> list[Emission]:
        """The changes to emit now, at the position of `segments`."""
        for (tenant, segment), account in list(self._accounts.items()) if self._complete else ():
            emitted = account.index.ids(np.flatnonzero(account.inside).astype(np.int32))
            self.hold_back(segments.adopt(tenant, segment, emitted))
        return [
            Emission(tenant=tenant, changes=changes, position=segments.position)
            for (tenant, segment), account in self._accounts.items()
            for changes in _difference(segment, account, segments, tenant)
        ]

    def _account(self, segment: Segment, rule_version: int) -> _Account:
        account = self._accounts.setdefault(segment, _Account(rule_version))
        account.rule_version = rule_version
        return account


def _difference(
    segment: AudienceName, account: _Account, segments: PartitionSegments, tenant: TenantName
) -> Iterator[Changes]:
    members = segments.members(tenant, segment)
    users = account.numbers(pa.array([], pa.string()) if members is None else members)
    now = np.zeros(len(account.inside), np.bool_)
    now[users] = True
    changed = np.flatnonzero(now != account.inside)
    if not len(changed):
        return
    causes = np.array([account.causes.get(user, "rule") for user in changed.tolist()])
    for cause in dict.fromkeys(causes.tolist()):
        chosen = changed[causes == cause].astype(np.int32)
        at = account.effective_at[chosen]
        yield Changes(
            segment=segment,
            rule_version=account.rule_version,
            user_ids=account.index.ids(chosen),
            entered=now[chosen],
            effective_at=np.where(at == 0, segments.position.at_us, at),
            cause=cause,
        )
