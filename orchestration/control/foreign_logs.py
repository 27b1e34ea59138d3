"""Partitions whose checkpoint belongs to a previous cluster; segment workers refuse them.

A worker that refuses ends before its metrics are scraped. So checkpoints are read here: at the start, whenever the log
of changes is replaced, and at every tick while any is refused.
"""

import logging
from collections.abc import Callable, Sequence

from schemas.ids import Partition
from schemas.metrics import FOREIGN_LOG, Sample
from schemas.topics import MEMBERSHIP_CHANGES

_log = logging.getLogger(__name__)


class ForeignLogs:
    """Watches for checkpoints of another log."""

    def __init__(self, topic_id: Callable[[str], str], refused: Callable[[], Sequence[Partition]]) -> None:
        self._topic_id = topic_id
        self._refused = refused
        self._checked_id: str | None = None
        self._found: Sequence[Partition] = ()

    def samples(self) -> list[Sample]:
        """The gauge, from any thread. None before the first tick."""
        return [] if self._checked_id is None else [Sample(metric=FOREIGN_LOG, value=len(self._found))]

    def tick(self) -> None:
        """Raises as Kafka and the lake do."""
        topic_id = self._topic_id(MEMBERSHIP_CHANGES)
        if topic_id != self._checked_id or self._found:
            self._found = self._refused()
            self._checked_id = topic_id
        if self._found:
            _log.error(
                "OTHER_LOG: the checkpoints of partitions %s belong to another Kafka; if that one is lost, run "
                "`muster segments rebase`",
                ", ".join(map(str, self._found)),
            )
