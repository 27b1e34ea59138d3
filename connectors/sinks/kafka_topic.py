"""An export to a Kafka topic of the receivers, in steps that may be repeated. docs/consuming.md is the receivers' side.

0. `open_topic`, `partitions_of`: the topic must exist; its P is frozen on the job.
1. `start`: `ExportStarted` to every partition.
2. `send_group`: the chunks of one group, each partition with its own sequence. Groups know nothing of each other, and
   may be sent side by side, by several processes.
3. `end`: when every group is there, `ExportEnded` to every partition, with what all groups came to.
`abort` at any time instead: `ExportAborted` to every partition.

A step returns when the broker has acknowledged all that it sent (idempotent producer, acks=all, every delivery report
looked at). One that died, or whose answer was lost, is run again with the same values: the same rows in the same order
become the same chunks under the same (export, attempt, partition, group, seq), of which receivers take one, and
receivers take no notice of a second marker. So no step asks what an earlier run of it has sent. Of a group, memory
holds one batch, one unfinished chunk for each partition (up to 768 KiB each), and up to 64 MiB of messages.

Every step opens a log of its own (`open_topic`): one that has failed stays so.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

from connectors.publishing.cutting import Piece, RowCutter
from connectors.publishing.ports import TopicLog
from connectors.publishing.producer import KafkaTopicLog
from connectors.publishing.sending import PlainSender
from connectors.sinks.topic_export import ExportAttempt, GroupSent, SentPart, TopicExport
from schemas.arrow import arrow_schema
from schemas.digest import Digest
from schemas.errors import FatalError, UserError
from schemas.ids import Partition
from schemas.manifest import Change
from schemas.messages import ExportAborted, ExportChunk, ExportEnded, ExportStarted
from schemas.warm import warm

CLIENT_ID: Final = "muster-exporter"
REFUSED_BY_TOPIC: Final = {
    "TOPIC_AUTHORIZATION_FAILED": "Muster may not write to it",
    "INVALID_RECORD": "it does not take messages without a key: a compacted topic would throw chunks away",
    "POLICY_VIOLATION": "a policy of the broker refuses the messages",
    "MSG_SIZE_TOO_LARGE": "its max.message.bytes is too small; Kafka's default, 1048588, is enough",
    "RECORD_LIST_TOO_LARGE": "its segment.bytes is smaller than a batch of messages",
    "UNKNOWN_TOPIC_OR_PART": "it was deleted meanwhile",
    "_UNKNOWN_TOPIC": "it was deleted meanwhile",
    "_UNKNOWN_PARTITION": "it was deleted meanwhile, or made anew with fewer partitions",
}
"""What is the topic's own fault, by the error of librdkafka: its owner has to do something. All else is an outage, or
a fault of the deployment."""

RowsListener = Callable[[int], None]
"""Told the rows of the group that have been queued so far; what it raises ends the step."""

ChangedRows = tuple[Change | None, Iterable[pa.RecordBatch]]
"""Rows sorted by user id and what has happened to them; none for those of a whole version."""


def open_topic(bootstrap: str, topic: str, *, delivery_timeout_s: float = 120.0) -> TopicLog:
    """A topic to write to, for one step. Connects when it is used.

    `delivery_timeout_s` bounds how long a message may stay unacknowledged before the step is an outage.
    """
    return KafkaTopicLog(bootstrap, topic, client_id=CLIENT_ID, delivery_timeout_s=delivery_timeout_s)


def partitions_of(log: TopicLog) -> int:
    """Step 0: the P to freeze on the job. A missing topic is never created.

    Raises `UserError` DESTINATION_NOT_WRITABLE, `RetriableError` KAFKA_UNAVAILABLE.
    """
    with _faults_of(log):
        return log.partitions()


def start(export: TopicExport, log: TopicLog) -> None:
    """Step 1. Must have returned before the first group is sent.

    Raises `UserError` DESTINATION_NOT_WRITABLE, TOPIC_PARTITIONS_CHANGED; `RetriableError` KAFKA_UNAVAILABLE;
    `FatalError` KAFKA_REFUSED.
    """
    with _sending(export, log) as sender:
        for partition in _partitions(export):
            sender.send(partition, _started(export, partition))
        sender.await_acknowledgements()


def send_group(
    export: TopicExport,
    log: TopicLog,
    *,
    group: int,
    rows: Iterable[ChangedRows],
    on_rows: RowsListener = lambda _: None,
) -> GroupSent:
    """Step 2, for one group (0..): its rows, or in a delta first those that were added, then those that were removed.

    `rows` may be a generator that reads while this sends. Batches need the columns of the export, by name; they may be
    cut anywhere, but their rows must come in the same order every time. No user is in two groups.
    Raises what `rows` and `on_rows` raise, and as `start`; then nothing that is queued is sent any more.
    """
    delta = export.base_version is not None
    schema = arrow_schema(export.columns)
    parts = _Parts(export)
    warm()
    with _sending(export, log) as sender:
        cutter = RowCutter(schema=export.columns, ordinal=False, partitions=export.partitions)
        queued = 0
        for change, batches in rows:
            if (change is not None) != delta:
                raise ValueError(f"rows are {change} in an export of {'a delta' if delta else 'a whole version'}")
            for batch in batches:
                selected = batch.select(schema.names).cast(schema)
                for piece in cutter.add(selected):
                    _send_chunk(export, group, change, piece, sender, parts)
                queued += selected.num_rows
                on_rows(queued)
            for piece in cutter.finish():  # a chunk holds rows of one kind of change
                _send_chunk(export, group, change, piece, sender, parts)
        sender.await_acknowledgements()
        return GroupSent(
            export_id=export.export_id,
            attempt=export.attempt,
            group=group,
            bytes=sender.bytes,
            partitions=parts.sent(),
        )


def end(export: TopicExport, log: TopicLog, groups: Sequence[GroupSent]) -> None:
    """Step 3: `groups` are all of the export, in any order. From here on receivers have the whole.

    Whether they come to the digest of the version is for the caller to check before (`topic_export.totals`).
    Raises `FatalError` EXPORT_MISMATCH where a group is missing, doubled or of something else, and as `start`.
    """
    _refuse_incomplete(export, groups)
    ordered = sorted(groups, key=lambda sent: sent.group)
    with _sending(export, log) as sender:
        for partition in _partitions(export):
            sender.send(partition, _ended(export, partition, [sent.partitions[partition] for sent in ordered]))
        sender.await_acknowledgements()


def abort(export: TopicExport | ExportAttempt, log: TopicLog, *, reason: str) -> None:
    """Tell every partition that there is now that this attempt will not be finished; a missing topic is no error.

    Not once `end` has returned: then receivers have the export. Raises as `start`, but for TOPIC_PARTITIONS_CHANGED:
    this is the way out of it.
    """
    try:
        partitions = min(log.partitions(), export.partitions)
    except FatalError as exc:
        if exc.code == "TOPIC_MISSING":  # then nobody waits for an end
            return
        raise
    with _faults_of(log):
        sender = PlainSender(log)
        for partition in map(Partition, range(partitions)):
            sender.send(
                partition,
                ExportAborted(export_id=export.export_id, attempt=export.attempt, partition=partition, reason=reason),
            )
        sender.await_acknowledgements()


class _Parts:
    """Chunks and digests of a group, by partition, while it is sent."""

    def __init__(self, export: TopicExport) -> None:
        nothing = Digest(schema_id=export.columns.schema_id)
        self._chunks = [0] * export.partitions
        self._digests = [nothing] * export.partitions
        self._removed = [nothing] * export.partitions

    def add(self, piece: Piece, change: Change | None) -> None:
        digests = self._removed if change == "removed" else self._digests
        digests[piece.partition] += piece.digest
        self._chunks[piece.partition] += 1

    def sent(self) -> tuple[SentPart, ...]:
        return tuple(
            SentPart(chunks=chunks, digest=digest, removed=removed)
            for chunks, digest, removed in zip(self._chunks, self._digests, self._removed, strict=True)
        )


@contextmanager
def _sending(export: TopicExport, log: TopicLog) -> Iterator[PlainSender]:
    """For one step: the topic has the partitions that users were placed by, and what fails leaves nothing queued."""
    with _faults_of(log):
        if (found := log.partitions()) != export.partitions:
            raise UserError(
                "TOPIC_PARTITIONS_CHANGED",
                f"topic {log.topic} has {found} partitions, and had {export.partitions} when the export began: "
                "receivers would look for users in the wrong ones. Export again",
                topic=log.topic,
                found=found,
                frozen=export.partitions,
            )
        try:
            yield PlainSender(log)
        except BaseException:
            log.abandon()
            raise


@contextmanager
def _faults_of(log: TopicLog) -> Iterator[None]:
    """What the topic refuses is the destination's fault."""
    try:
        yield
    except FatalError as exc:
        if exc.code == "TOPIC_MISSING":
            why = "it does not exist, and Muster creates no topic for an export: create it, or choose another"
        elif exc.code == "KAFKA_REFUSED" and exc.detail.get("kafka_error") in REFUSED_BY_TOPIC:
            why = REFUSED_BY_TOPIC[str(exc.detail["kafka_error"])]
        else:
            raise
        raise UserError(
            "DESTINATION_NOT_WRITABLE",
            f"topic {log.topic}: {why}",
            topic=log.topic,
            refusal=exc.detail.get("kafka_error", exc.code),
        ) from exc


def _partitions(export: TopicExport) -> list[Partition]:
    return [Partition(number) for number in range(export.partitions)]


def _started(export: TopicExport, partition: Partition) -> ExportStarted:
    return ExportStarted(
        tenant=export.tenant,
        audience=export.audience,
        export_id=export.export_id,
        attempt=export.attempt,
        partition=partition,
        partitions=export.partitions,
        version=export.version,
        snapshot_id=export.snapshot_id,
        base_version=export.base_version,
        columns=export.columns,
        created_at_us=export.created_at_us,
    )


def _send_chunk(
    export: TopicExport, group: int, change: Change | None, piece: Piece, sender: PlainSender, parts: _Parts
) -> None:
    sender.send(
        piece.partition,
        ExportChunk(
            export_id=export.export_id,
            attempt=export.attempt,
            partition=piece.partition,
            group=group,
            seq=piece.seq,
            change=change,
            count=piece.digest.count,
            digest=piece.digest,
            rows=piece.rows,
        ),
    )
    parts.add(piece, change)


def _ended(export: TopicExport, partition: Partition, parts: list[SentPart]) -> ExportEnded:
    schema_id = export.columns.schema_id
    return ExportEnded(
        export_id=export.export_id,
        attempt=export.attempt,
        partition=partition,
        partitions=export.partitions,
        chunks=tuple(part.chunks for part in parts),
        records=sum(part.records for part in parts),
        digest=Digest.total(schema_id, (part.digest for part in parts)),
        removed=Digest.total(schema_id, (part.removed for part in parts)),
    )


def _refuse_incomplete(export: TopicExport, groups: Sequence[GroupSent]) -> None:
    foreign = [
        sent.group
        for sent in groups
        if (sent.export_id, sent.attempt, len(sent.partitions)) != (export.export_id, export.attempt, export.partitions)
        or any(part.digest.schema_id != export.columns.schema_id for part in sent.partitions)
    ]
    numbers = sorted(sent.group for sent in groups)
    if foreign or numbers != list(range(len(groups))):
        raise FatalError(
            "EXPORT_MISMATCH",
            f"groups {foreign} are not of attempt {export.attempt} of export {export.export_id}"
            if foreign
            else f"the groups are {numbers}: each from 0 on must be there once",
            export=export.export_id,
            groups=foreign or numbers,
        )
