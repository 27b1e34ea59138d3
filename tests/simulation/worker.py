"""Stream workers: the product's code on our own event loop, with threads and timers of the kernel."""

import asyncio
import contextlib
import random
import warnings
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from connectors.kafka.log_offsets import PartitionKey
from connectors.storage.access import S3Access
from schemas.errors import FatalError, RetriableError
from streams.config import WorkerConfig
from streams.guards import start_offset
from streams.materialiser import Materialiser
from tests.fakes.fetches import fetched
from tests.simulation.group import Group
from tests.simulation.kernel import Kernel, Process, Signal
from tests.simulation.stores import ObjectStore

POLL_S = 3.0
FETCHED = 3  # records at most


class Loop(asyncio.BaseEventLoop):
    """An event loop in virtual time. Kernel tasks take the place of threads. A step of the kernel is some rounds."""

    def __init__(self, kernel: Kernel, process: Process, rounds: int) -> None:
        super().__init__()
        self._rounds = rounds
        self._kernel = kernel
        self._process = process
        self._wake = Signal()
        nothing: Any = SimpleNamespace(select=lambda _timeout: [], close=lambda: None)
        self._selector = nothing
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        return self._kernel.now_us / 1e6

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]  # noqa: ARG002
        future = self.create_future()

        def body() -> None:
            try:
                result = func(*args)
            except Exception as exc:  # noqa: BLE001  # it is the caller's
                self.settle(future, error=exc)
            else:
                self.settle(future, result)

        self._kernel.spawn(self._process, "thread", body)
        return future

    def settle(self, future: asyncio.Future[Any], result: Any = None, error: Exception | None = None) -> None:
        """Set the outcome of a future, from a task of the kernel."""
        if not future.done() and error is not None:
            future.set_exception(error)
        elif not future.done():
            future.set_result(result)
        self._kernel.set(self._wake)

    def turn(self, work: Any) -> None:
        """Run until the process dies. Called in a kernel task."""
        self.create_task(work)
        while True:
            self._wake.is_set = False
            asyncio._set_running_loop(self)
            try:
                for _ in range(self._rounds):
                    self._run_once()  # type: ignore[attr-defined]
                    if not self._ready:  # type: ignore[attr-defined]
                        break
            finally:
                asyncio._set_running_loop(None)
            if self._ready:  # type: ignore[attr-defined]
                self._kernel.pause()
                continue
            timers = self._scheduled  # type: ignore[attr-defined]
            self._kernel.wait(self._wake, max(timers[0].when() - self.time(), 0.001) if timers else None)

    def discard(self) -> None:
        """Close the coroutines of a dead process."""
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with warnings.catch_warnings(), contextlib.suppress(BaseException):
                warnings.simplefilter("ignore")  # of coroutines that will not begin any more
                task.get_coro().close()
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        self.close()

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class Worker:
    """One process, from its start to its death: a member of a group that gives records to a consumer.

    `_consumer` has `on_revoked`, `on_rewound` and `accept`, as `streams.guards.Ownership` and an agent.
    """

    _consumer: Any
    rounds = 1
    heartbeat_s = 10.0
    commit_s = 7.0

    def __init__(self, kernel: Kernel, process: Process, group: Group) -> None:
        self.process = process
        self._kernel = kernel
        self._group = group
        self._broker = group.broker
        self._loop = Loop(kernel, process, self.rounds)
        self._acked: dict[TP, int] = {}
        self._at: dict[TP, int] = {}
        self._generation = 0
        self._failed = Signal()

    def run(self) -> None:
        """Run the worker. Called in a task of the process."""
        self._kernel.spawn(self.process, "fails", self._die_when_failed)
        try:
            self._loop.turn(self._live())
        finally:
            self._loop.discard()

    def _duties(self) -> Sequence[Coroutine[Any, Any, object]]:
        """What runs beside the consumer, for as long as the worker."""
        raise NotImplementedError

    def _fetched(self, tp: TP, at: int) -> tuple[Any, int] | None:
        """Records from an offset on, as a fetch returns them, and the offset after them."""
        raise NotImplementedError

    def _foreseen(self, error: Exception) -> bool:
        """True if faults may end the worker with this error."""
        return isinstance(error, RetriableError)

    def _die_when_failed(self) -> None:
        self._kernel.wait(self._failed)
        self._kernel.kill(self.process)

    def _fail(self, error: Exception) -> None:
        if self._kernel.trace is not None:
            self._kernel.trace(f"{self.process.name} ends: {error}"[:160])
        if not self._foreseen(error):
            self._kernel.error = error
        self._kernel.set(self._failed)

    async def _live(self) -> None:
        duties = [self._loop.create_task(duty) for duty in (*self._duties(), self._commit())]
        try:
            while True:
                await self._join()
                consuming = self._loop.create_task(self._consume())
                while self._group.heartbeat(self.process.name, self._generation):
                    if self._broker.ports.faults.strike("rebalance"):
                        self._group.rebalance()
                    await asyncio.sleep(self.heartbeat_s)
                consuming.cancel()
                self._consumer.on_revoked(set(self._at))
                self._at, self._acked = {}, {}
        except Exception as exc:  # noqa: BLE001  # as the app does: the process ends
            self._fail(exc)
        finally:
            for duty in duties:
                duty.cancel()

    async def _join(self) -> None:
        generation, places = self._group.join(self.process.name), None
        while (places := self._group.assignment(self.process.name, generation)) is None:
            await asyncio.sleep(POLL_S)
            if self._group.assignment(self.process.name, generation) is None:
                generation = self._group.join(self.process.name)
        self._generation = generation
        self._acked = {}
        self._at = {TP(*place): self._start(place) for place in places}
        self._consumer.on_rewound(dict(self._at), generation)

    def _start(self, place: PartitionKey) -> int:
        return start_offset(TP(*place), self._group.committed(place), 0, len(self._broker.log(*place)))

    async def _consume(self) -> None:
        try:
            while True:
                nothing = True
                for tp, at in list(self._at.items()):
                    if (found := self._fetched(tp, at)) is not None:
                        nothing = False
                        message, end = found
                        self._at[tp] = end
                        await self._consumer.accept(self._event(tp, message, end))
                if nothing:
                    await self._await_records()
        except Exception as exc:  # noqa: BLE001  # as the agent does
            self._fail(exc)

    async def _await_records(self) -> None:
        await asyncio.sleep(POLL_S)

    def _event(self, tp: TP, message: Any, end: int) -> Any:
        return SimpleNamespace(message=message, ack=partial(self._acknowledge, self._generation, tp, end))

    def _acknowledge(self, generation: int, tp: TP, end: int) -> bool:
        if generation == self._generation and tp in self._at:
            self._acked[tp] = max(self._acked.get(tp, 0), end)
        return True

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(self.commit_s)
            generation, acked = self._generation, dict(self._acked)
            for tp, offset in acked.items():
                if (self._group.committed((tp.topic, tp.partition)) or 0) >= offset:
                    continue
                with contextlib.suppress(Exception):  # it is tried again
                    await self._loop.run_in_executor(
                        None, self._group.commit, generation, (tp.topic, tp.partition), offset
                    )


class ImportWorker(Worker):
    """The real `Materialiser`."""

    def __init__(
        self, kernel: Kernel, process: Process, group: Group, store: ObjectStore, temp: Path, luck: random.Random
    ) -> None:
        super().__init__(kernel, process, group)
        config = WorkerConfig(
            bootstrap="",
            store=S3Access(endpoint="", region=""),
            staging_bucket="staging",
            temp=temp,
            # Rows stay in memory, go to the spool, or are staged early.
            buffer_bytes=luck.choice((2_000, 1_000_000)),
            unacknowledged_records=luck.choice((6, 20)),
            unacknowledged_bytes=luck.choice((2_000, 1_000_000)),
            unacknowledged_s=luck.choice((1.0, 60.0)),
            write_threads=1,
            merge_threads=luck.choice((1, 2)),
            idle_group_s=60.0,
        )
        self._consumer: Materialiser = Materialiser(
            config, store, publish=self._publish, fail=self._fail, now_us=lambda: kernel.now_us
        )

    def _duties(self) -> Sequence[Coroutine[Any, Any, object]]:
        return (self._consumer.tick(),)

    def _fetched(self, tp: TP, at: int) -> tuple[Any, int] | None:
        values = self._broker.log(tp.topic, tp.partition)[at : at + FETCHED]
        return (fetched(tp, enumerate(values, at), self._generation), at + len(values)) if values else None

    def _foreseen(self, error: Exception) -> bool:
        # A merge may miss a run when the job has ended meanwhile. If any other run went missing, the job would hang.
        return super()._foreseen(error) or (isinstance(error, FatalError) and error.code == "STAGING_LOST")

    async def _publish(self, topic: str, key: bytes, value: bytes) -> None:
        del key
        await self._loop.run_in_executor(None, self._broker.send, topic, 0, value)
