"""A child that is started before there is a file for it: most of the time of a small file is the child's start.

`prepare` is for processes that know early that they will parse a file (tasks), `keep` for those that parse one after
the other (functions).
Each file still gets a process of its own, which has seen no other file.
"""

import threading

from connectors.sources.child_process import ChildProcess


class Standby:
    """At most one waiting child of this process. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept = False
        self._child: ChildProcess | None = None

    def prepare(self) -> None:
        """Start a child now, if none is waiting."""
        with self._lock:
            if self._child is None:
                self._child = ChildProcess(preload=True)

    def keep(self) -> None:
        """Start a child now, and another one after each file."""
        self._kept = True
        self.prepare()

    def await_ready(self) -> None:
        """Until the child that waits has loaded everything. For measurements: who has a file just takes the child."""
        with self._lock:
            if self._child is not None:
                self._child.await_ready()

    def stop(self) -> None:
        """End the child that waits, and keep none from now on."""
        self._kept = False
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.close()

    def take(self) -> ChildProcess:
        """The child that waits, or a new one. The caller closes it."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            if child.alive:
                return child
            child.close()
        return ChildProcess()

    def refill(self) -> None:
        """A file has been parsed: start the next child, where one is kept."""
        if self._kept:
            self.prepare()


STANDBY = Standby()
"""The one of this process."""
