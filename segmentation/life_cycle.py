"""The life of a job as a table: which state may follow which, and what a guarded change comes to."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Generic, TypeVar

StateT = TypeVar("StateT", bound=str)


class Change(Enum):
    """What became of a wanted state change. `ALREADY` is success: an earlier try of ours got through unseen."""

    APPLIED = "applied"
    ALREADY = "already"
    REFUSED = "refused"


@dataclass(frozen=True)
class LifeCycle(Generic[StateT]):
    """The states of one kind of job, each with those that may follow it."""

    following: Mapping[StateT, frozenset[StateT]]

    @cached_property
    def states(self) -> frozenset[StateT]:
        """All of them."""
        return frozenset(self.following)

    @cached_property
    def final(self) -> frozenset[StateT]:
        """States that nothing follows."""
        return frozenset(state for state, following in self.following.items() if not following)

    @cached_property
    def cancellable(self) -> frozenset[StateT]:
        """States before the commit; from all others a job only rolls forward."""
        return frozenset(state for state, following in self.following.items() if "CANCELLED" in following)

    def change(self, current: StateT, wanted: StateT) -> Change:
        """Decide a wanted change of a job that is in `current`."""
        if current == wanted:
            return Change.ALREADY
        return Change.APPLIED if wanted in self.following[current] else Change.REFUSED
