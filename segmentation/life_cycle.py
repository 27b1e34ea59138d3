"""Life cycle of a job as a table: allowed state transitions, and the result of a guarded change."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Generic, TypeVar

StateT = TypeVar("StateT", bound=str)


class Change(Enum):
    """Result of a requested state change. `ALREADY` is success: an earlier try got through without an answer."""

    APPLIED = "applied"
    ALREADY = "already"
    REFUSED = "refused"


@dataclass(frozen=True)
class LifeCycle(Generic[StateT]):
    """The states of one kind of job, each with its allowed successors."""

    following: Mapping[StateT, frozenset[StateT]]

    @cached_property
    def states(self) -> frozenset[StateT]:
        """All states."""
        return frozenset(self.following)

    @cached_property
    def final(self) -> frozenset[StateT]:
        """States without successors."""
        return frozenset(state for state, following in self.following.items() if not following)

    @cached_property
    def cancellable(self) -> frozenset[StateT]:
        """States before the commit; from all others a job only rolls forward."""
        return frozenset(state for state, following in self.following.items() if "CANCELLED" in following)

    def change(self, current: StateT, wanted: StateT) -> Change:
        """Decide a requested change of a job in state `current`."""
        if current == wanted:
            return Change.ALREADY
        return Change.APPLIED if wanted in self.following[current] else Change.REFUSED
