"""Publishes one attempt of an import in units that are sent side by side, by several processes.

The steps are those of `importer`, and so are their numbers: `begin` does 1 and 2 once, each unit does 1 and 3 to 5 for
itself, `end` does 5 and 6 for all, once all units have been sent. Every unit knows from verification how many rows and
chunks are before its own. So the same ordinals and sequence numbers come whoever sends it, however often: readers of
the topic see repeated chunks, as after any redelivery.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from connectors.publishing.attempts import ImportAttempt
from connectors.publishing.backlog import BacklogLimit
from connectors.publishing.chunking import Chunker
from connectors.publishing.importer import report_of, send_chunks, send_end_markers, send_start_markers
from connectors.publishing.ports import Backlog, Fence, TopicLog
from connectors.publishing.progress import OnProgress, ProgressTimer
from connectors.publishing.reconciling import compare, require_partition_count
from connectors.publishing.reports import PublishReport
from connectors.publishing.sending import Sender
from connectors.verification.evidence import Evidence
from connectors.verification.stream import ParsedRows
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.ids import Partition
from schemas.warm import warm


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSent:
    """What a unit has sent, all of it acknowledged; or its fault.

    Per partition: chunks, digests, and the offsets of its first and last message, -1 if none.
    """

    chunks: tuple[int, ...] = ()
    digests: tuple[Digest, ...] = ()
    offsets: tuple[tuple[int, int], ...] = ()
    bytes: int = 0
    error: dict[str, Any] | None = None

    @property
    def rows(self) -> int:
        """Rows in its chunks."""
        return sum(digest.count for digest in self.digests)


def begin(attempt: ImportAttempt, *, log: TopicLog, backlog: Backlog, fence: Fence) -> None:
    """Steps 1 and 2; returns when the broker has acknowledged the start markers. Raises as `publish_import`."""
    with _sender(attempt, log, backlog, fence, BacklogLimit()) as sender:
        send_start_markers(attempt, sender)
        sender.await_acknowledgements()


def send_unit(
    parsed: ParsedRows,
    attempt: ImportAttempt,
    *,
    evidence: Evidence,
    chunks: tuple[int, ...],
    first_seqs: Sequence[int],
    log: TopicLog,
    backlog: Backlog,
    fence: Fence,
    on_progress: OnProgress,
    limit: BacklogLimit,
) -> UnitSent:
    """Steps 1, 3, 4 and 5 for a unit; raises as `publish_import`. `evidence`, `chunks`: what verification saw in it."""
    with _sender(attempt, log, backlog, fence, limit) as sender:
        warm()
        sender.check_fence()
        chunker = Chunker(attempt, first_seqs=first_seqs)
        send_chunks(parsed, chunker, sender, ProgressTimer(sender, chunker, on_progress))
        compare(chunker.digests, evidence, parsed.summary)
        if chunker.chunks != chunks:
            raise FatalError(
                "EVIDENCE_MISMATCH",
                f"a unit was sent in {chunker.chunks} chunks, verification counted {chunks}",
                sent=list(chunker.chunks),
                verified=list(chunks),
            )
        return UnitSent(
            chunks=chunker.chunks,
            digests=chunker.digests,
            offsets=sender.offsets(),
            bytes=sender.bytes,
        )


def end(
    attempt: ImportAttempt,
    sent: Sequence[UnitSent],
    *,
    evidence: Evidence,
    log: TopicLog,
    backlog: Backlog,
    fence: Fence,
) -> PublishReport:
    """Steps 5 and 6 for all units; raises as `publish_import`."""
    digests = tuple(
        Digest.total(evidence.schema_id, of_units) for of_units in zip(*(unit.digests for unit in sent), strict=True)
    )
    chunks = tuple(map(sum, zip(*(unit.chunks for unit in sent), strict=True)))
    offsets = [last for _, last in offsets_of(sent)]
    compare(digests, evidence, evidence)
    with _sender(attempt, log, backlog, fence, BacklogLimit()) as sender:
        if send_end_markers(attempt, chunks, digests, sender):
            offsets = [sender.last_offset(Partition(number)) for number in range(attempt.partitions)]
        sent_bytes = sender.bytes + sum(unit.bytes for unit in sent)
        return report_of(attempt, sender.topic, sent_bytes, chunks, digests, offsets)


def offsets_of(sent: Sequence[UnitSent]) -> list[tuple[int, int]]:
    """Per partition, the offsets of the first and last message of all units; -1 if none."""
    return [
        (min((first for first, _ in of_units if first >= 0), default=-1), max(last for _, last in of_units))
        for of_units in zip(*(unit.offsets for unit in sent), strict=True)
    ]


@contextmanager
def _sender(
    attempt: ImportAttempt,
    log: TopicLog,
    backlog: Backlog,
    fence: Fence,
    limit: BacklogLimit,
) -> Iterator[Sender]:
    require_partition_count(log, attempt.partitions)
    try:
        yield Sender(log=log, backlog=backlog, fence=fence, partitions=attempt.partitions, limit=limit, clock=monotonic)
    except BaseException:
        log.abandon()  # queued messages would only burden the workers
        raise
