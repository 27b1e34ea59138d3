"""Interrupts the question that a reader works on, from the thread that hears of it.

DuckDB loses an interrupt that arrives between two statements, so it is repeated until the question has ended.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

REPEAT_S: Final = 0.025


class Interrupted(Exception):  # noqa: N818  # no fault
    """The question was given up."""


class Interruption:
    """Shared by the thread that works on a question and the one that hears of its end."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number: int | None = None
        self._stopped: int | None = None
        self._stops: list[Callable[[], None]] = []
        threading.Thread(target=self._repeat, name="interruption", daemon=True).start()

    @contextmanager
    def question(self, number: int) -> Iterator[None]:
        """The time in which a question is worked on."""
        with self._changed:
            self._number = number
        try:
            yield
        finally:
            with self._changed:
                self._number = None
                self._stops.clear()

    def stop(self, number: int) -> None:
        """Interrupt a question, also if it is yet to begin."""
        with self._changed:
            self._stopped = number
            self._changed.notify()

    @property
    def stopped(self) -> bool:
        """True if the present question was given up."""
        return self._number is not None and self._number == self._stopped

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """While this lasts, `stop` ends the present work. Raises `Interrupted` if the question was given up before."""
        with self._changed:
            if self.stopped:
                raise Interrupted
            self._stops.append(stop)
        try:
            yield
        finally:
            with self._changed:
                if stop in self._stops:
                    self._stops.remove(stop)

    def _repeat(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.stopped)
                for stop in self._stops:
                    stop()
                self._changed.wait(REPEAT_S)
