"""Questions whose answers take longer than a request can wait: their results are kept in the catalog for a day.

Each has a process of its own, so that none keeps a reader from counts. A service that dies takes its operations with
it: their lease ends, and they count as lost.
"""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from orchestration.catalog.operations import Operation, OperationKind, OperationStore
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.pool import Readers
from orchestration.readers.questions import Question
from schemas.errors import FatalError, MusterError, RetriableError
from schemas.ids import JobId, TenantName

AT_ONCE: Final = 2
WAITING: Final = 16
LEASE_MS: Final = 30_000
RENEW_S: Final = 5.0
_log = logging.getLogger(__name__)


class Background:
    """The questions that one service answers in the background. Thread-safe."""

    def __init__(self, store: OperationStore, readers: Readers) -> None:
        self._store = store
        self._readers = readers
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="operations")
        self._lock = threading.Lock()
        self._pending: set[JobId] = set()
        self._closing = threading.Event()
        self._renewal: threading.Thread | None = None

    def start(
        self, question: Question, *, kind: OperationKind, action: str, tenant: TenantName, principal_id: JobId
    ) -> Operation:
        """Begin to answer a question. Raises `RetriableError` READERS_BUSY, CATALOG_UNAVAILABLE."""
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
            if len(self._pending) >= AT_ONCE + WAITING:
                raise RetriableError("READERS_BUSY", "too many operations are running or waiting; try again")
            self._pending.add(new.operation_id)
            if self._renewal is None:
                self._renewal = threading.Thread(target=self._renew, name="operations", daemon=True)
                self._renewal.start()
        try:
            self._store.add(new)
            self._pool.submit(self._answer, new, question)
        except BaseException:
            self._forget(new)
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

    def _answer(self, operation: Operation, question: Question) -> None:
        outcome: object
        try:
            with Cancellation() as cancellation:
                outcome = self._readers.ask_alone(question, cancellation)
        except MusterError as exc:
            outcome = exc
            if notes := getattr(exc, "__notes__", ()):
                _log.error("operation %s: %s", operation.operation_id, " at ".join((str(exc), *notes)))
        except Exception:  # noqa: BLE001  # its waiter must learn of its end
            _log.exception("operation %s failed", operation.operation_id)
            outcome = FatalError("INTERNAL", "a bug in Muster")
        try:
            with suppress(MusterError):  # the catalog is down: its lease ends
                self._store.finish(operation.operation_id, outcome, now_ms=now_ms())  # type: ignore[arg-type]  # JSON
        finally:
            self._forget(operation)

    def _forget(self, operation: Operation) -> None:
        with self._lock:
            self._pending.discard(operation.operation_id)

    def _renew(self) -> None:
        while not self._closing.wait(RENEW_S):
            with self._lock:
                pending = sorted(self._pending)
            if pending:
                with suppress(MusterError):
                    self._store.keep_alive(pending, until_ms=now_ms() + LEASE_MS)


def lost() -> RetriableError:
    """The error of an operation whose lease has ended."""
    return RetriableError(
        "OPERATION_LOST", "the service ended before the operation was done; start the operation again"
    )
