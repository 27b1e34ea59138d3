"""Notices commits to the catalog: periodic tasks rest while there are none, and start at once when there is one."""

import threading
from collections.abc import Callable, Iterable
from typing import Final

from orchestration.platform.clock import now_ms
from schemas.errors import RetriableError

WATCH_S: Final = 0.2
QUIET_AFTER_MS: Final = 3_000
"""Several intervals of the tasks that rest: what they can do about a commit is done by then."""


class CatalogWatch:
    """`version()` as `Database.version`."""

    def __init__(self, version: Callable[[], object]) -> None:
        self._version = version
        self._lock = threading.Lock()
        self._seen: object = None
        self._changed_ms: int | None = None

    def quiet(self, now: int) -> bool:
        """True if nothing has been committed for a while. False while the catalog is away."""
        return self._changed_ms is not None and now - self._changed_ms > QUIET_AFTER_MS

    def look(self, now: int) -> bool:
        """True if anything has been committed since the last call."""
        with self._lock:
            try:
                version = self._version()
            except RetriableError:
                self._seen = self._changed_ms = None
                return False
            changed = version != self._seen
            if changed:
                self._seen, self._changed_ms = version, now
            return changed

    def unnoticed(self, commit: Callable[[], None]) -> None:
        """Make a commit that gives no task anything to do, and wakes none. Raises as `commit` does.

        A commit of another process in these milliseconds is not noticed either; tasks at rest find it within `REST_S`.
        """
        with self._lock:
            noticed = self._version() == self._seen
            commit()
            if noticed:
                self._seen = self._version()

    def run(self, stop: threading.Event, wakes: Iterable[threading.Event]) -> None:
        """Set the events at each commit, and finally when `stop` is set."""
        wakes = tuple(wakes)
        while True:
            stopped = stop.wait(WATCH_S)
            if stopped or self.look(now_ms()):
                for wake in wakes:
                    wake.set()
            if stopped:
                return
