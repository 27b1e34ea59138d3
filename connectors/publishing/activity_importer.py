"""Sends one attempt of an import of events or profiles.

1. Refuse a topic whose number of partitions is not the P frozen on the job.
2. Chunks, each partition with its own sequence, within the bounded backlog.
3. Wait until the broker has acknowledged every message.
4. Compare what was sent with what verification saw, partition by partition.

There are no markers, as there are for an audience: events and changes of profiles are added to what there is, and count
as soon as they are read. An attempt that dies leaves the first part of its rows, and the next one sends all of them
again: events are known by the object and their row, so each counts once; changes set what they have set before.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from connectors.publishing.activity_chunking import ActivityChunker, ActivitySource
from connectors.publishing.backlog import BacklogLimit
from connectors.publishing.ports import Backlog, Fence, TopicLog
from connectors.publishing.progress import OnProgress, ProgressTimer
from connectors.publishing.reconciling import compare, refuse_other_partition_count
from connectors.publishing.reports import PartitionSent, PublishReport
from connectors.publishing.sending import Sender
from connectors.sources.rejects import RejectBatch
from connectors.verification.evidence import Evidence
from connectors.verification.stream import ParsedRows
from schemas.columns import RowSchema
from schemas.ids import Partition
from schemas.warm import warm


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityAttempt:
    """One attempt of an import of events or profiles. `partitions` is the P frozen on the job."""

    source: ActivitySource
    partitions: int
    columns: RowSchema


def publish_activity(
    parsed: ParsedRows,
    attempt: ActivityAttempt,
    *,
    evidence: Evidence,
    log: TopicLog,
    backlog: Backlog,
    fence: Fence,
    on_progress: OnProgress,
    limit: BacklogLimit = BacklogLimit(),  # noqa: B008  # a frozen value
    clock: Callable[[], float] = time.monotonic,
) -> PublishReport:
    """Send a verified file as one attempt; returns when the broker has acknowledged all of it.

    Raises as `importer.publish_import` does. Then some chunks may have been sent, and count.
    """
    refuse_other_partition_count(log, attempt.partitions)  # 1
    sender = Sender(log=log, backlog=backlog, fence=fence, partitions=attempt.partitions, limit=limit, clock=clock)
    try:
        return _publish(parsed, attempt, evidence, sender, on_progress)
    except BaseException:
        log.abandon()
        raise


def _publish(
    parsed: ParsedRows, attempt: ActivityAttempt, evidence: Evidence, sender: Sender, on_progress: OnProgress
) -> PublishReport:
    warm()  # while the parser's child starts: loading the kernels takes a fifth of a second
    sender.ask_fence()
    chunker = ActivityChunker(attempt.source, schema=attempt.columns, partitions=attempt.partitions)
    progress = ProgressTimer(sender, chunker, on_progress)
    for item in parsed:  # 2
        if isinstance(item, RejectBatch):
            continue
        for chunk in chunker.add(item):
            sender.send(chunk.partition, chunk)
        progress.report()
    for chunk in chunker.finish():
        sender.send(chunk.partition, chunk)
    sender.await_acknowledgements()  # 3
    progress.report(last=True)
    compare(chunker.digests, evidence, parsed.summary)  # 4
    return PublishReport(
        import_id=attempt.source.import_id,
        attempt=attempt.source.attempt,
        topic=sender.topic,
        rows=sum(digest.count for digest in chunker.digests),
        bytes=sender.bytes,
        partitions=tuple(
            PartitionSent(
                partition=Partition(number),
                chunks=chunker.chunks[number],
                records=digest.count,
                digest=digest,
                end_offset=sender.last_offset(Partition(number)),
            )
            for number, digest in enumerate(chunker.digests)
        ),
    )
