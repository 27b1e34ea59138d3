"""Life cycle of an export job as a table; the counterpart of `segmentation.jobs` for imports.

[AWAITING ->] REGISTERED -> WRITING -> FINISHING -> READY
An export of a segment begins in AWAITING, until a snapshot job has made the version that it writes. Until FINISHING an
export may end in FAILED or CANCELLED. From FINISHING it only rolls forward, since its manifest may exist already; the
exception is a proven refusal, which ends in FAILED.
"""

from typing import Final, Literal

from segmentation.life_cycle import LifeCycle

ExportState = Literal["AWAITING", "REGISTERED", "WRITING", "FINISHING", "READY", "FAILED", "CANCELLED"]

EXPORT_LIFE_CYCLE: Final[LifeCycle[ExportState]] = LifeCycle(
    {
        "AWAITING": frozenset({"REGISTERED", "FAILED", "CANCELLED"}),
        "REGISTERED": frozenset({"WRITING", "FAILED", "CANCELLED"}),
        "WRITING": frozenset({"FINISHING", "FAILED", "CANCELLED"}),
        "FINISHING": frozenset({"READY", "FAILED"}),
        "READY": frozenset(),
        "FAILED": frozenset(),
        "CANCELLED": frozenset(),
    }
)

AWAITING: Final[ExportState] = "AWAITING"
EXPORT_STATES: Final = EXPORT_LIFE_CYCLE.states
ENDED: Final = EXPORT_LIFE_CYCLE.final
