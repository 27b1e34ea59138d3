"""Publishes one attempt of an import, of any kind.

The steps keep their numbers here, in the comments and in docs/protocol.md:

1. Refuse a topic whose number of partitions is not the P frozen on the job.
2. `ImportStarted` to every partition.
3. Chunks, each partition with its own sequence, within the bounded backlog.
4. Wait until the broker has acknowledged every message.
5. Compare what was sent with what verification saw, partition by partition.
6. Ask the fence once more, then `ImportEnded` to every partition, including those without users; wait as in 4.

A failure before 6 leaves an attempt without end markers, which cannot be mistaken for a complete one. Imports of events
and profiles have no markers, so 2 and 6 send nothing (`attempts.ActivityAttempt` says why).
"""

import time
from collections.abc import Callable, Sequence

from connectors.publishing.attempts import ImportAttempt
from connectors.publishing.backlog import BacklogLimit
from connectors.publishing.chunking import Chunker
from connectors.publishing.ports import Backlog, Fence, TopicLog
from connectors.publishing.progress import OnProgress, ProgressTimer
from connectors.publishing.reconciling import compare, require_partition_count
from connectors.publishing.reports import PartitionSent, PublishReport
from connectors.publishing.sending import PlainSender, Sender
from connectors.sources.rejects import RejectBatch
from connectors.verification.evidence import Evidence
from connectors.verification.stream import ParsedRows
from schemas.digest import Digest
from schemas.ids import Attempt, JobId, Partition
from schemas.messages import ImportAborted
from schemas.warm import warm


def publish_import(
    parsed: ParsedRows,
    attempt: ImportAttempt,
    *,
    evidence: Evidence,
    log: TopicLog,
    backlog: Backlog,
    fence: Fence,
    on_progress: OnProgress,
    limit: BacklogLimit = BacklogLimit(),  # noqa: B008  # a frozen value
    clock: Callable[[], float] = time.monotonic,
) -> PublishReport:
    """Send a parsed file as one attempt; returns when the broker has acknowledged all of it, including end markers.

    Raises `Superseded` / `Cancelled` from the fence; `FatalError` TOPIC_PARTITIONS_CHANGED or EVIDENCE_MISMATCH (names
    the partition); `UserError` SOURCE_CHANGED, and everything that the parser raises; `RetriableError`
    KAFKA_UNAVAILABLE. In all these cases no end marker has been sent, unless the broker fails, or the fence refuses,
    during step 6; some chunks may have been sent, and those of events and profiles count.
    """
    require_partition_count(log, attempt.partitions)  # 1
    sender = Sender(log=log, backlog=backlog, fence=fence, partitions=attempt.partitions, limit=limit, clock=clock)
    try:
        return _publish(parsed, attempt, evidence, sender, on_progress)
    except BaseException:
        log.abandon()  # queued messages would only burden the workers
        raise


def publish_aborted(log: TopicLog, *, import_id: JobId, attempt: Attempt, partitions: int, reason: str) -> None:
    """Send every partition the message that the import will not be published; returns when all are acknowledged.

    If the topic has lost partitions, only the remaining ones get it: aborting is the way out of exactly that failure.
    """
    sender = PlainSender(log)
    for number in range(min(partitions, log.partitions())):
        partition = Partition(number)
        sender.send(partition, ImportAborted(import_id=import_id, attempt=attempt, partition=partition, reason=reason))
    sender.await_acknowledgements()


def _publish(
    parsed: ParsedRows, attempt: ImportAttempt, evidence: Evidence, sender: Sender, on_progress: OnProgress
) -> PublishReport:
    warm()  # while the parser's child starts: loading the kernels takes a fifth of a second
    send_start_markers(attempt, sender)  # 2
    chunker = Chunker(attempt)
    progress = ProgressTimer(sender, chunker, on_progress)
    send_chunks(parsed, chunker, sender, progress)  # 3, 4
    compare(chunker.digests, evidence, parsed.summary)  # 5
    if send_end_markers(attempt, chunker.chunks, chunker.digests, sender):  # 6
        progress.report(last=True)  # with the offsets of the end markers
    offsets = [sender.last_offset(Partition(number)) for number in range(attempt.partitions)]
    return report_of(attempt, sender.topic, sender.bytes, chunker.chunks, chunker.digests, offsets)


def report_of(
    attempt: ImportAttempt,
    topic: str,
    sent_bytes: int,
    chunks: Sequence[int],
    digests: Sequence[Digest],
    end_offsets: Sequence[int],
) -> PublishReport:
    """The report of an attempt; chunks, digests and offsets of the last messages by partition."""
    return PublishReport(
        import_id=attempt.import_id,
        attempt=attempt.attempt,
        topic=topic,
        rows=sum(digest.count for digest in digests),
        bytes=sent_bytes,
        partitions=tuple(
            PartitionSent(
                partition=Partition(number),
                chunks=of_partition,
                records=digest.count,
                digest=digest,
                end_offset=offset,
            )
            for number, (of_partition, digest, offset) in enumerate(zip(chunks, digests, end_offsets, strict=True))
        ),
    )


def send_start_markers(attempt: ImportAttempt, sender: Sender) -> None:
    """Step 2, without waiting for acknowledgements."""
    sender.check_fence()
    for started in attempt.start_markers():
        sender.send(started.partition, started)


def send_chunks(parsed: ParsedRows, chunker: Chunker, sender: Sender, progress: ProgressTimer) -> None:
    """Steps 3 and 4."""
    file = None
    for item in parsed:
        if isinstance(item, RejectBatch):
            continue
        if parsed.file != file:
            file = parsed.file
            for chunk in chunker.begin_file(file):
                sender.send(chunk.partition, chunk)
        for chunk in chunker.add(item):
            sender.send(chunk.partition, chunk)
        progress.report()
    for chunk in chunker.finish():
        sender.send(chunk.partition, chunk)
    sender.await_acknowledgements()
    progress.report(last=True)


def send_end_markers(attempt: ImportAttempt, chunks: Sequence[int], digests: Sequence[Digest], sender: Sender) -> bool:
    """Step 6. False, and nothing was done, if the attempt has no markers."""
    ends = attempt.end_markers(chunks, digests)
    if not ends:
        return False
    sender.check_fence()
    for ended in ends:
        sender.send(ended.partition, ended)
    sender.await_acknowledgements()
    return True
