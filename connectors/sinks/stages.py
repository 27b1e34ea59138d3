"""Stages of a pipeline: iterators that run in threads of their own, each some items ahead of who takes them.

    stages = Stages()
    with stages:
        for item in stages.ahead(written(stages.ahead(read(), most=2)), most=1):

Items come in their order; what an iterator raises is raised where the item would have been taken. Leaving the block, be
it early, stops every stage at its next item and waits until all threads have ended, and their generators are closed.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

ItemT = TypeVar("ItemT")
INTERRUPT_EVERY_S: Final = 0.05
"""An interrupt is lost on what begins only after it."""


class StageStopped(Exception):  # noqa: N818  # no error: the taker has gone
    """Raised in a stage that takes from one that was stopped."""


class Stages:
    """The stages of one piece of work. All are stopped together: one may be waiting for another."""

    def __init__(self) -> None:
        self._stages: list[_Stage[Any]] = []
        self._left = False
        self._lock = threading.Lock()  # a stage may begin another one

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._left = True
        for stage in self._stages:
            stage.stop()
        for stage in self._stages:
            stage.join()

    def ahead(
        self, items: Iterator[ItemT], *, most: int, interrupt: Callable[[], None] | None = None
    ) -> Iterator[ItemT]:
        """The same items, of which at most `most` are made or being made and not taken yet.

        `items` are used in the thread only. `interrupt`, safe to be called from another one, makes an item that is
        being made fail: it is called where the stage is stopped, until the thread has ended.
        """
        with self._lock:
            if self._left:
                raise StageStopped
            stage = _Stage(items, most, interrupt, name=f"stage-{len(self._stages)}")
            self._stages.append(stage)
        return stage


class _Stage(Iterator[ItemT], Generic[ItemT]):
    def __init__(self, items: Iterator[ItemT], most: int, interrupt: Callable[[], None] | None, *, name: str) -> None:
        self._items = items
        self._most = most
        self._interrupt = interrupt
        self._made: deque[ItemT] = deque()
        self._over = False
        self._stopped = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __next__(self) -> ItemT:
        with self._changed:
            self._changed.wait_for(lambda: self._made or self._over or self._stopped)
            if self._stopped:
                raise StageStopped
            if self._made:
                self._changed.notify_all()
                return self._made.popleft()
        failure, self._failure = self._failure, None
        raise StopIteration if failure is None else failure

    def stop(self) -> None:
        """Make no more items, and wake who waits for one."""
        with self._changed:
            self._stopped = True
            self._made.clear()
            self._changed.notify_all()

    def join(self) -> None:
        """Wait for the end of the thread, after `stop`."""
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
                    self._made.append(item)
                    self._changed.notify_all()
                del item  # it may be large, and the wait long
        except BaseException as exc:  # noqa: BLE001  # raised again where the item would have been taken
            self._failure = exc
        if isinstance(self._items, Generator):
            with suppress(Exception):  # of one that was stopped: why it was is told elsewhere
                self._items.close()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        """Wait for room; False when no item is wanted any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._made) < self._most)
            return not self._stopped
