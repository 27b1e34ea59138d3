"""The life of an export job as a table, as `segmentation.jobs` has it for imports.

REGISTERED -> WRITING -> FINISHING -> READY
Until FINISHING an export may end in FAILED or CANCELLED. From there it only rolls forward, since its manifest may be
there, but for a proven refusal: then it has FAILED.
"""

from typing import Final, Literal

from segmentation.life_cycle import LifeCycle

ExportState = Literal["REGISTERED", "WRITING", "FINISHING", "READY", "FAILED", "CANCELLED"]

EXPORT_LIFE_CYCLE: Final[LifeCycle[ExportState]] = LifeCycle(
    {
        "REGISTERED": frozenset({"WRITING", "FAILED", "CANCELLED"}),
        "WRITING": frozenset({"FINISHING", "FAILED", "CANCELLED"}),
        "FINISHING": frozenset({"READY", "FAILED"}),
        "READY": frozenset(),
        "FAILED": frozenset(),
        "CANCELLED": frozenset(),
    }
)

EXPORT_STATES: Final = EXPORT_LIFE_CYCLE.states
ENDED: Final = EXPORT_LIFE_CYCLE.final
