"""The relay's share of notifications: delivers what is due, and tells of jobs whose workflow ended without a word.

In threads of its own: a mail server that hangs must not keep task tokens from being answered.
"""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from orchestration.context import Context
from orchestration.control.rounds import go_round
from orchestration.notifications.notices import outcome_of
from orchestration.platform.clock import now_ms

LOOK_S: Final = 1.0
UNTOLD_AFTER_MS: Final = 60_000
"""The workflow itself tells within seconds."""
UNTOLD_WITHIN_MS: Final = 7 * 24 * 3600 * 1000
AT_A_TIME: Final = 4
_log = logging.getLogger(__name__)


class Notifier:
    """Goes round until `stop` is set."""

    def __init__(self, context: Context, stop: threading.Event) -> None:
        self._context = context
        self._stop = stop
        self._courier = context.notices.courier()

    def start(self) -> None:
        """Begin, in a thread."""
        pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="courier")
        go_round(lambda: self.look(now_ms(), pool), name="notifier", every_s=LOOK_S, stop=self._stop)

    def look(self, now: int, pool: ThreadPoolExecutor) -> None:
        """Deliver what is due. Blocks until the slowest is done. Raises `RetriableError` CATALOG_UNAVAILABLE."""
        for job_id in self._context.outbox.untold(
            finished_before_ms=now - UNTOLD_AFTER_MS, finished_after_ms=now - UNTOLD_WITHIN_MS
        ):
            job = self._context.jobs.get(job_id)
            self._context.notices.of_job(job, outcome_of(job), now)
        for export in self._context.exports.untold(
            finished_before_ms=now - UNTOLD_AFTER_MS, finished_after_ms=now - UNTOLD_WITHIN_MS
        ):
            self._context.notices.of_export(export, outcome_of(export), now)
        due = self._context.outbox.due(now)
        for done in [pool.submit(self._courier.deliver, row) for row in due]:
            done.result()
