"""Life cycle of an import job as a table: allowed state transitions, and the result of a guarded change.

REGISTERED -> VERIFYING -> IMPORTING -> AWAITING -> [BUILDING ->] PUBLISHING -> READY | SUPERSEDED
REGISTERED is the queue (`segmentation.admission`); a retry of a verified file goes from there to IMPORTING.
Every state before PUBLISHING may end in FAILED or CANCELLED. From PUBLISHING a job only rolls forward, except after a
proven refusal (nothing was committed): back to BUILDING if the base moved, FAILED if a guard refuses.
"""

from typing import Final

from schemas.messages import JobState
from segmentation.life_cycle import LifeCycle

JOB_LIFE_CYCLE: Final[LifeCycle[JobState]] = LifeCycle(
    {
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
)

STATES: Final = JOB_LIFE_CYCLE.states
FINAL: Final = JOB_LIFE_CYCLE.final
