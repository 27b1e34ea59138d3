"""Questions whose answers take longer than a request can wait: their results are kept in the catalog for a day.

Each has a process of its own, so that none keeps a reader from counts; tenants share the places (`shares`). One ends
once whoever began it may no longer ask. A service that dies takes its operations with it: their lease ends, and they
count as lost.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Literal

from orchestration.catalog.operations import Operation, OperationStore
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.pool import Readers
from orchestration.readers.questions import Question
from orchestration.readers.shares import IN_RESERVE, may_take, next_to_work
from orchestration.records.operations import OperationKind
from schemas.errors import FatalError, MusterError, RetriableError
from schemas.ids import JobId, TenantName
from segmentation.admission import Ticket

AT_ONCE: Final = 2
"""Of one tenant; another one in reserve is for the others."""
PLACES: Final = 18
"""For operations that work or wait."""
LEASE_MS: Final = 30_000
RENEW_S: Final = 5.0
CHECK_S: Final = 20.0
"""Between two checks of the rights of whoever began an operation: with the time until it is noticed, below 30 s."""
_log = logging.getLogger(__name__)


class _Pending:
    """An operation that works or waits. `check`: raises once whoever began it may no longer ask."""

    def __init__(self, operation: Operation, question: Question, check: Callable[[], None]) -> None:
        self.operation = operation
        self.question = question
        self.check = check
        self.checked_at = time.monotonic()
        self.cancellation = Cancellation()
        self.stage: Literal["new", "waits", "works"] = "new"
        """New is what the catalog does not have yet."""

    @property
    def ticket(self) -> Ticket:
        """As `shares` takes it."""
        return Ticket(job_id=self.operation.operation_id, tenant=self.operation.tenant, small=False)


class Background:
    """The questions that one service answers in the background. Thread-safe."""

    def __init__(self, store: OperationStore, readers: Readers, *, check_s: float = CHECK_S) -> None:
        self._store = store
        self._readers = readers
        self._check_s = check_s
        self._pool = ThreadPoolExecutor(AT_ONCE + IN_RESERVE, thread_name_prefix="operations")
        self._lock = threading.Lock()
        self._pending: dict[JobId, _Pending] = {}
        self._closing = threading.Event()
        self._renewal: threading.Thread | None = None

    def start(
        self,
        question: Question,
        *,
        kind: OperationKind,
        action: str,
        tenant: TenantName,
        principal_id: JobId,
        check: Callable[[], None] = lambda: None,
    ) -> Operation:
        """Begin to answer a question. `check` is called again and again; what it raises ends the operation.

        Raises `RetriableError` READERS_BUSY, CATALOG_UNAVAILABLE.
        """
        at_ms = now_ms()
        new = Operation(
            operation_id=fresh_id(),
            tenant=tenant,
            principal_id=principal_id,
            kind=kind,
            action=action,
            state="running",
            created_at_ms=at_ms,
            alive_until_ms=at_ms + LEASE_MS,
        )
        with self._lock:
            if not may_take(tenant, Counter(one.operation.tenant for one in self._pending.values()), PLACES):
                raise RetriableError("READERS_BUSY", "too many operations are running or waiting; try again")
            pending = self._pending[new.operation_id] = _Pending(new, question, check)
            if self._renewal is None:
                self._renewal = threading.Thread(target=self._renew, name="operations", daemon=True)
                self._renewal.start()
        try:
            self._store.add(new)
            pending.stage = "waits"
            self._work()
        except BaseException:
            self._forget(pending)
            raise
        return new

    @property
    def pending(self) -> int:
        """Questions that are being answered, or wait for it."""
        with self._lock:
            return len(self._pending)

    def close(self) -> None:
        """Start no more; `Readers.close` has given up the running ones."""
        self._closing.set()
        self._pool.shutdown(cancel_futures=True)

    def _work(self) -> None:
        """Begin what is due."""
        with self._lock:
            waiting = [one.ticket for one in self._pending.values() if one.stage == "waits"]
            working = [one.ticket for one in self._pending.values() if one.stage == "works"]
            for operation_id in next_to_work(waiting, working, AT_ONCE):
                pending = self._pending[operation_id]
                pending.stage = "works"
                self._pool.submit(self._answer, pending)

    def _answer(self, pending: _Pending) -> None:
        operation, outcome = pending.operation, object()
        try:
            with pending.cancellation as cancellation:
                outcome = self._readers.ask_alone(pending.question, cancellation)
        except MusterError as exc:
            outcome = exc
            if notes := getattr(exc, "__notes__", ()):
                _log.error("operation %s: %s", operation.operation_id, " at ".join((str(exc), *notes)))
        except Exception:  # noqa: BLE001  # its waiter must learn of its end
            _log.exception("operation %s failed", operation.operation_id)
            outcome = FatalError("INTERNAL", "a bug in Muster")
        try:
            with suppress(MusterError):  # the catalog is down: its lease ends
                self._store.finish(operation.operation_id, outcome, now_ms=now_ms())
        finally:
            self._forget(pending)
            with suppress(RuntimeError):  # the service stops
                self._work()

    def _forget(self, pending: _Pending) -> None:
        with self._lock:
            self._pending.pop(pending.operation.operation_id, None)
        pending.cancellation.close()

    def _renew(self) -> None:
        while not self._closing.wait(min(RENEW_S, self._check_s)):
            with self._lock:
                pending = dict(self._pending)
            if pending:
                with suppress(MusterError):
                    self._store.keep_alive(sorted(pending), until_ms=now_ms() + LEASE_MS)
            for one in pending.values():
                self._check(one)

    def _check(self, pending: _Pending) -> None:
        now = time.monotonic()
        if now - pending.checked_at < self._check_s:
            return
        try:
            pending.check()
            pending.checked_at = now
        except RetriableError:  # not known: the lease says what happens in an outage
            return
        except MusterError as exc:
            pending.cancellation.set(exc)
