"""Periodic tasks, and the lanes that run them. `composition.control_lanes` says what runs how often, and in which.

A lane is a thread that runs its tasks in order, so that a task that hangs delays only its own lane: a silent mail
server must not keep task tokens from being answered.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from orchestration.platform.clock import now_ms
from schemas.errors import MusterError, RetriableError
from schemas.log_ids import bound

REST_S: Final = 5.0
"""Interval of tasks that the catalog gives something to do, while it does not change."""
CATALOG_REFUSED: Final = "CATALOG_REFUSED"
CATALOG_UNAVAILABLE: Final = "CATALOG_UNAVAILABLE"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicTask:
    """`run(now_ms)` about every `every_s` seconds; `now_ms` is in milliseconds since 1970 UTC.

    `first_s`: seconds from the start of the lane to the first run; `every_s` if None. `rest_s`: the interval while the
    lane is at rest; `every_s` if None. `on_wake`: also whenever the lane is woken. `run` returns True if more is to be
    done soon, which keeps its lane from resting.
    """

    name: str
    every_s: float
    run: Callable[[int], object]
    first_s: float | None = None
    rest_s: float | None = None
    on_wake: bool = False

    @property
    def delay_s(self) -> float:
        """Seconds to the first run."""
        return self.every_s if self.first_s is None else self.first_s

    def interval_s(self, *, at_rest: bool) -> float:
        """Seconds between two runs."""
        return self.rest_s if at_rest and self.rest_s is not None else self.every_s


@dataclass(slots=True, kw_only=True)
class Lane:
    """Tasks that share a thread.

    An error of a task is logged under its name, and the task runs again when it is next due. `vital`: a fatal error is
    raised instead and ends the process; so does a password that the catalog refuses, since a restart reads the current
    one. `quiet(now_ms)`: True while nothing happens that its tasks have to do with.
    """

    name: str
    tasks: Sequence[PeriodicTask]
    vital: bool = False
    quiet: Callable[[int], bool] = lambda _: False
    _ran_ms: dict[str, float] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._begin(0)

    def start(self, stop: threading.Event, wake: threading.Event | None = None) -> threading.Thread:
        """As `run`, in a thread, which is returned. `wake` must be set when `stop` is; it is `stop` if None."""
        thread = threading.Thread(target=self.run, args=(stop, wake or stop), name=self.name, daemon=True)
        thread.start()
        return thread

    def run(self, stop: threading.Event, wake: threading.Event) -> None:
        """Run until `stop` is set; setting `wake` ends a pause. Raises as a task of a vital lane does."""
        self._begin(now_ms())
        pause_s = min(task.delay_s for task in self.tasks)
        while not stop.is_set():
            woken = wake.wait(pause_s)
            if stop.is_set():
                return
            if wake is not stop:  # it may be set right now
                wake.clear()
            self.tick(now_ms(), woken=woken)
            at_rest = self._at_rest(now_ms())
            pause_s = min(task.interval_s(at_rest=at_rest) for task in self.tasks)

    def tick(self, now: int, *, woken: bool = False) -> None:
        """Run what is due at `now`. While the catalog is away, the rest waits for the next tick."""
        at_rest = self._at_rest(now)
        for task in self.tasks:
            due_ms = self._ran_ms[task.name] + task.interval_s(at_rest=at_rest) * 1000
            if now < due_ms and not (woken and task.on_wake):
                continue
            self._ran_ms[task.name] = now
            self._busy.discard(task.name)
            try:
                with bound():
                    if task.run(now) is True:
                        self._busy.add(task.name)
            except RetriableError as exc:
                if self.vital and exc.code == CATALOG_REFUSED:
                    raise
                _log.warning("%s: %s", task.name, exc)
                if exc.code == CATALOG_UNAVAILABLE:
                    return
            except MusterError as exc:
                if self.vital:
                    raise
                _log.error("%s: %s", task.name, exc)
            except Exception:
                if self.vital:
                    raise
                _log.exception("%s", task.name)

    def _at_rest(self, now: int) -> bool:
        return not self._busy and self.quiet(now)

    def _begin(self, at_ms: int) -> None:
        self._ran_ms = {task.name: at_ms + (task.delay_s - task.every_s) * 1000 for task in self.tasks}
