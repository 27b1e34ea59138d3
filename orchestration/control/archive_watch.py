"""Whether the archive has everything that an import of events or profiles has sent, or can never have it."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from connectors.kafka.log_offsets import log_ends
from connectors.lake.archive import ActivityArchive
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.records import Job
from orchestration.kinds.settle_activity import last_sent, report_of
from orchestration.kinds.topics import import_topic
from schemas.errors import MusterError, RetriableError
from schemas.ids import Attempt, JobId, Partition
from segmentation.archived import unarchived_partitions

READ_EVERY_MS: Final = 2_000
"""About the commit interval of the archive."""
LOST_AFTER_MS: Final = 60_000
"""The high watermark may lag a few seconds behind what the broker has acknowledged."""
LOST_EVERY_MS: Final = 10_000
_Waiting = tuple[JobId, Attempt]
_log = logging.getLogger(__name__)


class ArchiveWatch:
    """Reads the table of a topic while jobs wait for it, at most every two seconds."""

    def __init__(self, archive: Callable[[], ActivityArchive], jobs: JobStore, bootstrap: str) -> None:
        self._archive = archive
        self._jobs = jobs
        self._bootstrap = bootstrap
        self._ends: dict[str, Mapping[Partition, int]] = {}
        self._read_ms: dict[str, int] = {}
        self._lost_due_ms: dict[_Waiting, int] = {}

    def forget_all_but(self, jobs: Iterable[Job]) -> None:
        """Forget jobs that no longer wait."""
        waiting = {(job.job_id, job.attempt) for job in jobs if job.state == "AWAITING"}
        self._lost_due_ms = {key: due for key, due in self._lost_due_ms.items() if key in waiting}

    def has_all(self, job: Job, now_ms: int) -> bool:
        """True if the archive is past everything that the newest attempt has sent. False while it cannot be read."""
        topic = import_topic(job)
        if now_ms - self._read_ms.get(topic, 0) >= READ_EVERY_MS:
            self._read_ms[topic] = now_ms
            try:
                self._ends[topic] = self._archive().archived_to(topic)
            except RetriableError as exc:
                _log.warning("cannot read the archive position of %s: %s", topic, exc)
        return topic in self._ends and not unarchived_partitions(
            last_sent(report_of(self._jobs, job)), self._ends[topic]
        )

    def lost(self, job: Job, now_ms: int) -> str | None:
        """Why the archive can never have all of a job that has waited for a minute. None if it still can.

        The log ends before a message that the broker has acknowledged, so the broker has lost it.
        """
        due = self._lost_due_ms.setdefault((job.job_id, job.attempt), now_ms + LOST_AFTER_MS)
        if now_ms < due:
            return None
        self._lost_due_ms[job.job_id, job.attempt] = now_ms + LOST_EVERY_MS
        topic = import_topic(job)
        try:
            log = self._archive().log(topic)
            ends = log_ends(self._bootstrap, topic, job.partitions)
        except MusterError as exc:
            _log.warning("cannot check %s for lost records: %s", topic, exc)
            return None
        sent = {p: log.offset(p, last) for p, last in last_sent(report_of(self._jobs, job)).items()}
        lost = {int(p): last for p, last in sent.items() if last >= ends[p]}
        return (
            f"the broker has lost the end of {topic}: lost offsets by partition {lost}, the log ends at {ends}"
            if lost
            else None
        )
