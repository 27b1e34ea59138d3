"""Stages of a pipeline: iterators that run in their own threads, each some items ahead of its consumer.

    stages = Stages()
    with stages:
        for item in stages.ahead(written(stages.ahead(read(), most=2)), most=1):

Items keep their order; an exception of an iterator is raised where its next item would have been consumed. Leaving the
block, even early, stops every stage at its next item and waits until all threads have ended and their generators are
closed.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

ItemT = TypeVar("ItemT")
INTERRUPT_EVERY_S: Final = 0.05
"""Interval of repeated interrupts: one that comes before the work begins has no effect."""


class StageStopped(Exception):  # noqa: N818  # no error: the consumer is gone
    """Raised in a stage that consumes a stopped stage."""


class Stages:
    """The stages of one task. All are stopped together, since one may be waiting for another."""

    def __init__(self) -> None:
        self._stages: list[_Stage[Any]] = []
        self._exited = False
        self._lock = threading.Lock()  # a stage may start another one

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._exited = True
        for stage in self._stages:
            stage.stop()
        for stage in self._stages:
            stage.join()

    def prefetch(
        self, items: Iterator[ItemT], *, most: int, interrupt: Callable[[], None] | None = None
    ) -> Iterator[ItemT]:
        """Iterate over the same items, with at most `most` made or in the making but not yet consumed.

        `items` are used only in the thread. `interrupt`, which must be safe to call from another thread, makes the
        current item fail; it is called repeatedly from the stop of the stage until the thread has ended.
        """
        with self._lock:
            if self._exited:
                raise StageStopped
            stage = _Stage(items, most, interrupt, name=f"stage-{len(self._stages)}")
            self._stages.append(stage)
        return stage


class _Stage(Iterator[ItemT], Generic[ItemT]):
    def __init__(self, items: Iterator[ItemT], most: int, interrupt: Callable[[], None] | None, *, name: str) -> None:
        self._items = items
        self._most = most
        self._interrupt = interrupt
        self._ready: deque[ItemT] = deque()
        self._exhausted = False
        self._stopped = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __next__(self) -> ItemT:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._exhausted or self._stopped)
            if self._stopped:
                raise StageStopped
            if self._ready:
                self._changed.notify_all()
                return self._ready.popleft()
        failure, self._failure = self._failure, None
        raise StopIteration if failure is None else failure

    def stop(self) -> None:
        """Make no more items, and wake a waiting consumer."""
        with self._changed:
            self._stopped = True
            self._ready.clear()
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for the thread to end, after `stop`."""
        while self._thread.is_alive():
            if self._interrupt is not None:
                self._interrupt()
            self._thread.join(INTERRUPT_EVERY_S if self._interrupt is not None else None)

    def _run(self) -> None:
        try:
            while self._has_room():
                try:
                    item = next(self._items)
                except StopIteration:
                    break
                with self._changed:
                    self._ready.append(item)
                    self._changed.notify_all()
                del item  # do not keep it: it may be large, and the wait long
        except BaseException as exc:  # noqa: BLE001  # raised again where the item would have been taken
            self._failure = exc
        if isinstance(self._items, Generator):
            with suppress(Exception):  # errors of a stopped stage: the reason is reported elsewhere
                self._items.close()
        with self._changed:
            self._exhausted = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        """Wait for room. False once no more items are wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._ready) < self._most)
            return not self._stopped
