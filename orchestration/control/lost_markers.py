"""Detects end markers and announcements that the broker has lost, so that no job waits for them.

A partition that has announced nothing is examined when its workers are past the end marker (its offset is in the report
of the attempt), or the log ends before it:
1. Staging has the result of the worker: its announcement was lost. The result is written to the catalog.
2. Staging has the intent: the merge is still to be done. Nothing is wrong.
3. Neither, for `LOST_AFTER_MS`: it will never be announced. The partition has failed, and the workflow starts another
   attempt. A late announcement replaces the failure; whichever attempt is complete is published.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from confluent_kafka import KafkaException

from connectors.kafka.log_offsets import PartitionKey
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.progress import ProgressStore
from orchestration.catalog.records import Job
from orchestration.kinds.materialised import as_row
from schemas.codec import CODEC, UndecodableError
from schemas.digest import Digest
from schemas.errors import MusterError
from schemas.ids import Attempt, JobId, Partition
from schemas.layout import intent_key, result_key
from schemas.messages import PartitionFailed, PartitionMaterialised, ProgressMessage
from streams.staging import StagingStore

LOST_AFTER_MS: Final = 60_000
"""An announcement reaches the catalog within a second; the high watermark may lag for a few."""
_Suspect = tuple[JobId, Attempt, Partition]
_log = logging.getLogger(__name__)


class Offsets(Protocol):
    """The offsets of the worker group; see `WorkerGroup`."""

    def committed(self) -> Mapping[PartitionKey, int]:
        """The offset up to which the workers have consumed everything."""
        ...

    def ends(self) -> Mapping[PartitionKey, int]:
        """The offset of the next message."""
        ...


class LostMarkers:
    """Examines partitions of waiting jobs that have announced nothing."""

    def __init__(
        self,
        jobs: JobStore,
        progress: ProgressStore,
        staging: Callable[[], StagingStore],
        bucket: str,
        offsets: Offsets,
    ) -> None:
        self._jobs = jobs
        self._progress = progress
        self._staging = staging
        self._bucket = bucket
        self._offsets = offsets
        self._since_ms: dict[_Suspect, int] = {}

    def tick(self, jobs: Iterable[Job], now_ms: int) -> None:
        """Do what is due. A server that does not answer is logged; the next tick tries again."""
        waiting = [job for job in jobs if job.state == "AWAITING" and job.segment is None]
        if not waiting:
            return
        try:
            committed, ends = self._offsets.committed(), self._offsets.ends()
            suspects = [found for job in waiting for found in self._suspects(job, committed, ends)]
            self._since_ms = {s: self._since_ms.get(s, now_ms) for s, _ in suspects}
            for suspect, lost in suspects:
                self._write_if_lost(suspect, lost, now_ms)
        except (MusterError, KafkaException) as exc:
            _log.warning("cannot check for lost end markers: %s", exc)

    def _suspects(
        self, job: Job, committed: Mapping[PartitionKey, int], ends: Mapping[PartitionKey, int]
    ) -> Iterable[tuple[_Suspect, PartitionFailed | PartitionMaterialised]]:
        """Partitions of the newest attempt that are neither announced nor being merged, with the row to write."""
        report = self._jobs.attempt_reports(job.job_id).get(job.attempt)
        if report is None:
            return
        reported = {p.partition for p in self._progress.partitions(job.job_id) if p.attempt == job.attempt}
        for sent in report["partitions"]:
            key = (str(report["topic"]), int(sent["partition"]))
            if key not in ends or sent["partition"] in reported:
                continue
            if ends[key] > sent["end_offset"] >= committed[key]:
                continue  # the marker is there and waits for workers
            suspect = (job.job_id, job.attempt, Partition(key[1]))
            stored = self._stored(suspect)
            if stored is None and self._is_to_be_merged(key[0], suspect):
                continue
            yield suspect, stored or _lost(job, sent, key, ends[key])

    def _write_if_lost(self, suspect: _Suspect, lost: ProgressMessage, now_ms: int) -> None:
        if now_ms - self._since_ms[suspect] < LOST_AFTER_MS:
            return
        self._progress.put_partitions([as_row(lost, now_ms)])
        what = lost.reason if isinstance(lost, PartitionFailed) else "the announcement was lost, the result is stored"
        _log.error("job %s attempt %d partition %d: %s", *suspect, what)

    def _stored(self, suspect: _Suspect) -> PartitionFailed | PartitionMaterialised | None:
        if (content := self._staged(result_key(*suspect))) is None:
            return None
        try:
            message = CODEC.decode(content)
        except UndecodableError as exc:  # as good as lost: the next attempt has an object of its own
            _log.error("cannot read the result of job %s attempt %d partition %d: %s", *suspect, exc)
            return None
        return message if isinstance(message, PartitionFailed | PartitionMaterialised) else None

    def _is_to_be_merged(self, topic: str, suspect: _Suspect) -> bool:
        job_id, attempt, partition = suspect
        return self._staged(intent_key(topic, partition, job_id, attempt)) is not None

    def _staged(self, key: str) -> bytes | None:
        return self._staging().get(self._bucket, key)


def _lost(job: Job, sent: Mapping[str, Any], key: PartitionKey, end: int) -> PartitionFailed:
    at = sent["end_offset"]
    reason = (
        f"the broker has lost the end of {key[0]}/{key[1]}: it ends at {end}, the end marker was at {at}"
        if end <= at
        else f"the workers have passed the end marker at {at} of {key[0]}/{key[1]} without seeing it"
    )
    expected = Digest.parse(sent["digest"])
    return PartitionFailed(
        import_id=job.job_id,
        attempt=job.attempt,
        partition=Partition(key[1]),
        partitions=job.partitions,
        reason=reason,
        missing_count=0,
        missing=(),
        expected=expected,
        actual=Digest(schema_id=expected.schema_id),
    )
