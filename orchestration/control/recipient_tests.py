"""Test notifications that people ask for, sent by what sends real ones: the same keys, targets and time-outs.

Each is one attempt at once, which is never repeated: what came of it is the result of its operation. After a crash
between sending it and keeping that, it is sent again under the same id.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from orchestration.catalog.audit import AuditTrail
from orchestration.catalog.auditing import record
from orchestration.catalog.operations import RECIPIENT_TEST, Operation, OperationStore
from orchestration.notifications.courier import send
from orchestration.notifications.notices import notification_of_test
from orchestration.platform.clock import iso, now_ms
from orchestration.platform.settings import Settings
from schemas.errors import FatalError, MusterError
from schemas.log_ids import bound

CONCURRENCY: Final = 4
_log = logging.getLogger(__name__)


class RecipientTests:
    """Sends them, several at a time, so that a server that hangs does not block the others."""

    def __init__(self, store: OperationStore, audit: AuditTrail, settings: Settings) -> None:
        self._store = store
        self._audit = audit
        self._settings = settings
        self._pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="recipient-test")

    def tick(self, _: int) -> None:
        """Send what is pending. Blocks until the slowest is done. Raises `RetriableError` CATALOG_UNAVAILABLE."""
        pending = self._store.pending(RECIPIENT_TEST)
        for done in [self._pool.submit(self._run, one) for one in pending]:
            done.result()

    def _run(self, one: Operation) -> None:
        with bound(tenant=one.tenant):
            notification = notification_of_test(one)
            shown = {"channel": notification.channel, "address": notification.recipient.shown}
            error: MusterError | None = None
            try:
                send(notification, self._settings)
            except MusterError as exc:
                error = exc
            except Exception:  # noqa: BLE001  # the operation would be pending for ever
                _log.exception("test notification %s", one.operation_id)
                error = FatalError("INTERNAL", "a bug in Muster; the log of the control plane has it")
            ended = now_ms()
            delivered = {**shown, "delivered_at": iso(ended)}
            self._store.finish(one.operation_id, error or delivered, now_ms=ended)
            record(
                self._audit,
                f"operation {one.operation_id}",
                "recipients test",
                f"{one.tenant}/{one.audience or 'recipients'}",
                after=shown,
                error=None if error is None else error.code,
                tenant=one.tenant,
            )
