"""Closes database connections that are not needed, so that a deployment at rest holds none and its database may pause.

SQLAlchemy keeps each connection that it has ever opened, up to the size of the pool.
"""

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlalchemy as sa

IDLE_S: Final = 30.0
"""Closed at the second look: 30 to 60 s after the last use."""


class IdleConnections:
    """Looks at the pool of an engine every `idle_s` as long as connections are open; otherwise it has no thread.

    If the pool keeps more connections than were in use at once since the last look, those that nothing uses are closed;
    what is needed is opened again.
    """

    def __init__(self, engine: "sa.Engine", idle_s: float = IDLE_S) -> None:
        from sqlalchemy import event  # noqa: PLC0415  # slow to import, and a catalog opens at its first use

        self._engine = engine
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._used = 0
        """Connections in use at once, at most, since the last look."""
        event.listen(engine, "checkout", self._on_checkout)

    def stop(self) -> None:
        """Do not look any more, until another connection is used."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _on_checkout(self, *_: object) -> None:
        with self._lock:
            self._used = max(self._used, self._engine.pool.checkedout())  # type: ignore[attr-defined]
            if self._timer is None:
                self._look_later()

    def _look_later(self) -> None:
        self._timer = threading.Timer(self._idle_s, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():
                return  # stopped meanwhile
            pool, used, self._timer = self._engine.pool, self._used, None
            in_use = self._used = pool.checkedout()  # type: ignore[attr-defined]
            if not in_use and pool.checkedin() > used:  # type: ignore[attr-defined]
                self._engine.dispose()
            elif in_use or pool.checkedin():  # type: ignore[attr-defined]
                self._look_later()
