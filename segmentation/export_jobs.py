"""The life of an export job as a table, as `segmentation.jobs` has it for imports.

REGISTERED -> WRITING -> FINISHING -> READY
Until FINISHING an export may end in FAILED or CANCELLED. From there it only rolls forward, since its manifest may be
there, but for a proven refusal: then it has FAILED.
"""

from collections.abc import Mapping
from typing import Final, Literal

from segmentation.jobs import Change, guarded

ExportState = Literal["REGISTERED", "WRITING", "FINISHING", "READY", "FAILED", "CANCELLED"]

_NEXT: Final[Mapping[ExportState, frozenset[ExportState]]] = {
    "REGISTERED": frozenset({"WRITING", "FAILED", "CANCELLED"}),
    "WRITING": frozenset({"FINISHING", "FAILED", "CANCELLED"}),
    "FINISHING": frozenset({"READY", "FAILED"}),
    "READY": frozenset(),
    "FAILED": frozenset(),
    "CANCELLED": frozenset(),
}

EXPORT_STATES: Final[frozenset[ExportState]] = frozenset(_NEXT)
ENDED: Final[frozenset[ExportState]] = frozenset(state for state, following in _NEXT.items() if not following)
STOPPABLE: Final[frozenset[ExportState]] = frozenset(s for s, following in _NEXT.items() if "CANCELLED" in following)


def export_change(current: ExportState, wanted: ExportState) -> Change:
    """Decide a wanted change of an export that is in `current`."""
    return guarded(_NEXT, current, wanted)
