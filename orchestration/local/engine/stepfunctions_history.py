# ruff: noqa: SLF001 - the whole file replaces private parts of moto
"""Where moto's histories differ from AWS: 29 of `stepfunctions_patches`.

AWS developer guide, "Avoid reaching the history quota": event 25,000 is the end of the execution, or the execution
fails. Like every other end, this one stands: whatever its states report afterwards changes nothing.
"""

import threading
from typing import Any, Final

from orchestration.local.engine.moto_parts import PARSER, module

EVENTS_MAX: Final = 25_000
FULL: Final = f"The execution reached the maximum number of history events ({EVENTS_MAX})."
ENDS: Final = frozenset({"ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"})


def install() -> None:
    """Apply the patches."""
    environment = module(PARSER + "asl.eval.environment").Environment
    manager = module(PARSER + "asl.eval.event.event_manager").EventManager
    states = module(PARSER + "asl.eval.program_state")
    ended_early = (states.ProgramError, states.ProgramStopped, states.ProgramTimedOut)
    initialise, set_error, add = environment.__init__, environment.set_error, manager.add_event
    lock = threading.RLock()

    def initialise_with_owner(self: Any, *args: Any, **options: Any) -> None:
        initialise(self, *args, **options)
        self.event_manager._owner = self  # a frame then takes the history of its execution

    def set_first_error(self: Any, error: Any) -> None:
        if not isinstance(self._program_state, ended_early):
            set_error(self, error)

    def add_within_limit(self: Any, context: Any, event_type: Any, *args: Any, **options: Any) -> int:
        with lock:
            last: int = context.last_published_event_id
            if event_type not in ENDS and isinstance(self._owner._program_state, ended_early):
                return last
            if event_type in ENDS or self._event_id_gen._next_id < EVENTS_MAX:
                return int(add(self, context, event_type, *args, **options))
        self._owner.set_error({"error": "States.Runtime", "cause": FULL})
        raise RuntimeError(FULL)

    environment.__init__, environment.set_error = initialise_with_owner, set_first_error
    manager.add_event = add_within_limit
