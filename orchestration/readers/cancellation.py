"""Gives up a question from another thread: for a newer one, for a client that has left, for a service that stops."""

import os
import threading
from collections.abc import Callable
from typing import Self

from schemas.errors import MusterError


class Cancellation:
    """Set once, with the error for the caller. Its descriptor is readable from then on. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._error: MusterError | None = None
        self._listeners: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the descriptor; setting it later has no effect."""
        with self._lock:
            self._listeners.clear()
            if self._event >= 0:
                os.close(self._event)
                self._event = -1

    def set(self, error: MusterError) -> None:
        """Give the question up. Without effect after the first time."""
        with self._lock:
            if self._error is not None or self._event < 0:
                return
            self._error = error
            os.eventfd_write(self._event, 1)
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    @property
    def error(self) -> MusterError | None:
        """Why the question was given up; None if it was not."""
        return self._error

    def check(self) -> None:
        """Raises the error, if it is set."""
        if self._error is not None:
            raise self._error

    def fileno(self) -> int:
        """For `poll`."""
        return self._event

    def on_set(self, listener: Callable[[], None]) -> None:
        """Call `listener` once it is set, in the thread that sets it; at once if it is."""
        with self._lock:
            if self._error is None:
                self._listeners.append(listener)
                return
        listener()
