"""The readers of a service: askers wait for a free one, in a bounded queue, and tenants share both (`shares`).

A reader that dies costs its question a 503 and is replaced. One that dies while it is idle costs nothing.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count as numbers
from typing import Any, Final

from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import Question, tenant_of
from orchestration.readers.reader import Reader
from orchestration.readers.shares import IN_RESERVE, may_take, next_to_work
from orchestration.readers.turns import Turns
from schemas.errors import RetriableError
from schemas.ids import JobId
from segmentation.admission import Ticket

COUNT: Final = 2
WAITING: Final = 16
Start = Callable[[], Reader]
_log = logging.getLogger(__name__)


class Held:
    """A place of the pool, with its reader, for as long as one asker holds it."""

    def __init__(self, reader: Reader, cancellation: Cancellation) -> None:
        self._reader = reader
        self._cancellation = cancellation

    def ask(self, question: Question) -> Any:
        """The answer to a question. Raises as `Reader.ask`."""
        return self._reader.ask(question, self._cancellation)


class Readers:
    """Thread-safe. Nothing is started before `prepare` or the first question.

    `start` makes a resident reader, `start_alone` one for a single question: a long one, or one that parses files.
    `stop` is called when the pool closes. `count`: readers that one tenant may hold; there is one more in reserve.
    """

    def __init__(
        self,
        start: Start,
        start_alone: Start,
        stop: Callable[[], None] = lambda: None,
        *,
        count: int = COUNT,
        waiting: int = WAITING,
    ) -> None:
        self.turns = Turns()
        self.count = count
        self._start = start
        self._start_alone = start_alone
        self._stop = stop
        self._places = count + IN_RESERVE + waiting
        self._changed = threading.Condition()
        self._free: list[Reader | None] = [None] * (count + IN_RESERVE)
        """Idle readers; None stands for a reader that has not been started, or has died."""
        self._numbers = numbers()
        self._waiting: list[Ticket] = []
        self._working: list[Ticket] = []
        self._running: set[Cancellation] = set()
        self._alive: set[Reader] = set()
        self._closed = False
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="readers")

    def prepare(self) -> None:
        """Start the readers now, but for the reserve; they load while others work. Does not wait."""
        with self._changed:
            missing = max(0, self._free.count(None) - IN_RESERVE)
            for _ in range(missing):
                self._free.remove(None)
        with suppress(RuntimeError):  # the pool is closed
            for _ in range(missing):
                self._starter.submit(self._fill)

    def ask(self, question: Question, cancellation: Cancellation) -> Any:
        """The answer to a question. Raises as `hold` and `Reader.ask`."""
        with self.hold(tenant_of(question), cancellation) as held:
            return held.ask(question)

    @contextmanager
    def hold(self, tenant: str, cancellation: Cancellation) -> Iterator[Held]:
        """A reader for several questions of a tenant.

        Raises `RetriableError` READERS_BUSY, SERVICE_STOPS, or the cancellation.
        """
        with self.counted(cancellation):
            ticket = Ticket(job_id=JobId(f"{next(self._numbers):026d}"), tenant=tenant, small=False)
            reader = self._take(ticket, cancellation)
            try:
                if reader is None or not reader.usable:
                    self._end(reader)
                    reader = None
                    reader = self._begin(self._start)
                yield Held(reader, cancellation)
            finally:
                if reader is not None and not reader.usable:
                    self._end(reader)
                    _log.warning("a reader has ended with code %d; another one replaces it", reader.exit_code)
                    self._give_back(None, ticket)
                    self.prepare()
                else:
                    self._give_back(reader, ticket)

    def ask_alone(self, question: Question, cancellation: Cancellation) -> Any:
        """The answer of a process of its own, which ends with it; not bounded here. Raises as `ask`."""
        with self.counted(cancellation):
            reader = self._begin(self._start_alone)
            try:
                return reader.ask(question, cancellation)
            finally:
                self._end(reader)

    def close(self) -> None:
        """Give up all questions and end all readers."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            running = list(self._running)
        for cancellation in running:
            cancellation.set(_stops())
        self._stop()
        self._starter.submit(self._end_all).result()
        self._starter.shutdown()

    @contextmanager
    def counted(self, cancellation: Cancellation) -> Iterator[None]:
        """Given up when the pool closes. Raises `RetriableError` SERVICE_STOPS if it is closed."""
        with self._changed:
            if self._closed:
                raise _stops()
            self._running.add(cancellation)
        try:
            yield
        finally:
            with self._changed:
                self._running.discard(cancellation)

    def _take(self, ticket: Ticket, cancellation: Cancellation) -> Reader | None:
        """A free place, in turn: its reader, or None if one must be started."""
        cancellation.on_set(self._wake)
        with self._changed:
            if not may_take(ticket.tenant, self._held(), self._places):
                raise RetriableError("READERS_BUSY", "too many questions are waiting; try again")
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: cancellation.error is not None or self._is_next(ticket))
                cancellation.check()
                if self._closed:  # a question that was given up first has left its place
                    raise _stops()
                started = [reader for reader in self._free if reader is not None]
                self._free.remove(taken := started[-1] if started else None)  # the one with the freshest cache
                self._working.append(ticket)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        return taken

    def _held(self) -> Counter[str]:
        return Counter(ticket.tenant for ticket in (*self._waiting, *self._working))

    def _is_next(self, ticket: Ticket) -> bool:
        """Of those that begin now, as many as there are readers: one of the places may still be loading."""
        return ticket.job_id in next_to_work(self._waiting, self._working, self.count)[: len(self._free)]

    def _give_back(self, reader: Reader | None, ticket: Ticket | None = None) -> None:
        """`ticket`: of the question that has ended."""
        with self._changed:
            if ticket is not None:
                self._working.remove(ticket)
            if not self._closed:
                self._free.append(reader)
                self._changed.notify_all()
                return
        self._end(reader)  # nobody else would: whoever closes the pool looks at the readers that are free by then

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _begin(self, start: Start) -> Reader:
        try:
            return self._starter.submit(self._started_by, start).result()
        except (RuntimeError, CancelledError) as exc:  # after its shutdown
            raise _stops() from exc

    def _started_by(self, start: Start) -> Reader:
        if self._closed:
            raise _stops()
        reader = start()
        self._alive.add(reader)
        return reader

    def _fill(self) -> None:
        try:
            self._give_back(self._started_by(self._start))
        except Exception as exc:  # noqa: BLE001  # after any error, the place must not be lost
            _log.warning("a reader was not started: %s", exc)
            self._give_back(None)

    def _end(self, reader: Reader | None) -> None:
        if reader is not None:
            reader.close()
            self._alive.discard(reader)

    def _end_all(self) -> None:
        with self._changed:
            idle = {reader for reader in self._free if reader is not None}
        for reader in list(self._alive):
            if reader in idle:
                self._end(reader)
            else:
                reader.end()  # whoever asks it still reads from it, and closes it


def _stops() -> RetriableError:
    return RetriableError("SERVICE_STOPS", "the service is stopping; try again")
