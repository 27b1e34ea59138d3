"""The life of an import job as a table: which state may follow which, and what a guarded change comes to.

REGISTERED -> VERIFYING -> IMPORTING -> AWAITING -> [BUILDING ->] PUBLISHING -> READY | SUPERSEDED
REGISTERED is the queue (`segmentation.admission`); a retry of a verified file goes from there to IMPORTING.
Every state before PUBLISHING may end in FAILED or CANCELLED. From PUBLISHING a job only rolls forward, but for a proven
refusal (nothing was committed): back to BUILDING when the base moved, FAILED when a guard refuses.
"""

from collections.abc import Mapping, Set
from enum import Enum
from typing import Final, TypeVar

from schemas.messages import JobState

StateT = TypeVar("StateT", bound=str)

_NEXT: Final[Mapping[JobState, frozenset[JobState]]] = {
    "REGISTERED": frozenset({"VERIFYING", "IMPORTING", "FAILED", "CANCELLED"}),
    "VERIFYING": frozenset({"IMPORTING", "FAILED", "CANCELLED"}),
    "IMPORTING": frozenset({"AWAITING", "FAILED", "CANCELLED"}),
    "AWAITING": frozenset({"IMPORTING", "BUILDING", "PUBLISHING", "FAILED", "CANCELLED"}),
    "BUILDING": frozenset({"PUBLISHING", "FAILED", "CANCELLED"}),
    "PUBLISHING": frozenset({"READY", "SUPERSEDED", "BUILDING", "FAILED"}),
    "READY": frozenset(),
    "SUPERSEDED": frozenset(),
    "FAILED": frozenset(),
    "CANCELLED": frozenset(),
}

STATES: Final[frozenset[JobState]] = frozenset(_NEXT)
FINAL: Final[frozenset[JobState]] = frozenset(state for state, following in _NEXT.items() if not following)
CANCELLABLE: Final[frozenset[JobState]] = frozenset(s for s, following in _NEXT.items() if "CANCELLED" in following)


class Change(Enum):
    """What became of a wanted state change. `ALREADY` is success: an earlier try of ours got through unseen."""

    APPLIED = "applied"
    ALREADY = "already"
    REFUSED = "refused"


def change(current: JobState, wanted: JobState) -> Change:
    """Decide a wanted change of a job that is in `current`."""
    return guarded(_NEXT, current, wanted)


def guarded(following: Mapping[StateT, Set[StateT]], current: StateT, wanted: StateT) -> Change:
    """Decide a wanted change by a table of which state may follow which."""
    if current == wanted:
        return Change.ALREADY
    return Change.APPLIED if wanted in following[current] else Change.REFUSED
