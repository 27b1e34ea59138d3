"""How far the archive is: whether it has what an import of events or profiles has sent."""

import logging
from collections.abc import Mapping
from typing import Final

from orchestration.catalog.records import Job
from orchestration.context import Context
from orchestration.steps.send import import_topic
from orchestration.steps.stored import last_sent, report_of
from schemas.errors import RetriableError
from schemas.ids import Partition
from segmentation.archived import behind

LOOK_EVERY_MS: Final = 2_000
"""About as often as the archive commits."""
_log = logging.getLogger(__name__)


class ArchiveWatch:
    """Asks the table of a topic while jobs wait for it, not more often than every two seconds."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ends: dict[str, Mapping[Partition, int]] = {}
        self._looked_ms: dict[str, int] = {}

    def has_all(self, job: Job, now_ms: int) -> bool:
        """Whether the archive has passed everything that the newest attempt has sent. No, while it cannot be asked."""
        topic = import_topic(job)
        if now_ms - self._looked_ms.get(topic, 0) >= LOOK_EVERY_MS:
            self._looked_ms[topic] = now_ms
            try:
                self._ends[topic] = self._context.archive.archived_to(topic)
            except RetriableError as exc:
                _log.warning("how far %s is archived is not known: %s", topic, exc)
        return topic in self._ends and not behind(last_sent(report_of(self._context, job)), self._ends[topic])
