"""The one watcher: polls the catalog while anyone listens, and fans out what has changed."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from orchestration.access.topics import States, Topic
from orchestration.api.streams.board import Board, events
from orchestration.api.thread_pool import ThreadPool
from orchestration.composition.service import Services
from orchestration.platform.clock import now_ms
from schemas.errors import MusterError, RetriableError, UserError
from schemas.ids import JobId
from schemas.metrics import API_STREAMS, Sample

REST: Final = 1.0
"""A poll is followed by a pause of this many times its length: the watcher takes at most half a core."""
MAX_POLL_S: Final = 5.0
_log = logging.getLogger("muster.api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often streams poll and send. `alive_s`: load balancers close connections that are silent for 60 s.

    `check_s`: how often the rights of a stream are checked; `question_check_s`: those of a question that runs, whose
    process takes a moment to end.

    `most`: of all principals. The server takes 1,000 connections, and some must be left for requests.
    """

    poll_s: float = 0.5
    alive_s: float = 15.0
    check_s: float = 30.0
    question_check_s: float = 15.0
    per_principal: int = 10
    most: int = 800


class Subscription:
    """What one stream has seen. `wake` is set when there is something to take, and when the service stops."""

    def __init__(self, boards: Collection[Board]) -> None:
        self._boards = boards
        self._seen: int | None = None
        self.wake = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether the first states have been taken."""
        return self._seen is not None

    def take(self, revision: int) -> list[bytes]:
        """Events up to the present revision that were not taken yet. The first call gives the state of everything.

        Empty until all of it has been read once. Raises `RetriableError` STREAM_TOO_SLOW.
        """
        if not all(board.complete for board in self._boards):
            return []
        seen, self._seen = self._seen, revision
        if seen is None:
            return [text for board in self._boards for text in board.present()]
        return [text for board in self._boards for text in board.since(seen)]


@dataclass(slots=True, kw_only=True)
class _Watched:
    board: Board
    states: States
    listeners: set[Subscription] = field(default_factory=set)
    version: object = None


class Watcher:
    """Everything runs in one event loop; readings of the catalog, one at a time, in a thread of its own.

    `as_of_ms`: the catalog's state at this time, or a later one, has been shown; None before the first.
    """

    def __init__(self, services: Services, pace: Pace) -> None:
        self.pace: Final = pace
        self._services = services
        self._calls = ThreadPool(threads=1)
        self._watched: dict[Topic, _Watched] = {}
        self._open: Counter[JobId] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._new = asyncio.Event()
        self.revision = 0
        self.as_of_ms: int | None = None
        self.stopping = False

    @contextmanager
    def subscribed(self, principal: JobId, topics: Collection[Topic]) -> Iterator[Subscription]:
        """Listen to topics. Raises `UserError` TOO_MANY_STREAMS, `RetriableError` BUSY."""
        if self._open[principal] >= self.pace.per_principal:
            raise UserError(
                "TOO_MANY_STREAMS",
                f"you have {self.pace.per_principal} streams open; close one, or listen to several kinds in one",
                limit=self.pace.per_principal,
            )
        if self._open.total() >= self.pace.most:
            raise RetriableError("BUSY", f"{self.pace.most} streams are open, and the service takes no more; try later")
        watched = [self._watch(topic) for topic in sorted(topics, key=lambda topic: topic.kind)]
        made = Subscription([one.board for one in watched])
        for one in watched:
            one.listeners.add(made)
        self._open[principal] += 1
        made.wake.set()
        self._start()
        try:
            yield made
        finally:
            self._open -= Counter({principal: 1})
            for one in watched:
                one.listeners.discard(made)
            self._watched = {topic: one for topic, one in self._watched.items() if one.listeners}
            if not self._watched and self._task is not None:
                self._task.cancel()
                self._task = None

    def stop(self) -> None:
        """End all streams."""
        self.stopping = True
        for listener in self._listeners():
            listener.wake.set()

    def close(self) -> None:
        """Read no more."""
        self._calls.close()

    def samples(self) -> Iterable[Sample]:
        """Current values."""
        yield Sample(metric=API_STREAMS, value=sum(self._open.values()))

    def _watch(self, topic: Topic) -> _Watched:
        if topic not in self._watched:
            board = Board(topic.kind, whole=topic.whole)
            self._watched[topic] = _Watched(board=board, states=States(self._services, topic))
        return self._watched[topic]

    def _listeners(self) -> set[Subscription]:
        return {listener for one in self._watched.values() for listener in one.listeners}

    def _start(self) -> None:
        if self._task is None:
            self._new = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._new.set()

    async def _run(self) -> None:
        trouble = False
        while True:
            began = time.perf_counter()
            self._new.clear()
            try:
                await self._look()
                trouble = False
            except MusterError as exc:
                if not trouble:
                    _log.warning("event streams are stalled: %s", exc)
                trouble = True
            pause = min(MAX_POLL_S, max(self.pace.poll_s, REST * (time.perf_counter() - began)))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._new.wait()

    async def _look(self) -> None:
        """Read what may have changed since the last poll. `version` is read first: a later commit is seen next time."""
        at_ms = now_ms()
        version = await self._calls.run(self._services.version)
        for topic, one in list(self._watched.items()):
            if one.version == version:
                continue
            try:
                found = await self._calls.run(_reading(topic, one.states))
            except MusterError:
                one.states = States(self._services, topic)
                raise
            except Exception:  # noqa: BLE001  # one state that cannot be shown must not hold up the others
                _log.exception("the stream of %s of tenant %s is stalled", topic.kind, topic.tenant)
                one.states, one.version = States(self._services, topic), version  # until the next commit
                continue
            one.version = version
            if one.board.update(found, self.revision + 1) or not all(listener.begun for listener in one.listeners):
                self.revision += 1
                for listener in one.listeners:
                    listener.wake.set()
        self.as_of_ms = at_ms


def _reading(topic: Topic, states: States) -> Callable[[], Mapping[str, bytes]]:
    return lambda: events(topic.kind, states.read())
