"""An export to a receiver's Kafka topic, in steps that can be repeated. See docs/consuming.md for the receiver's side.

0. `open_topic`, `partitions_of`: the topic must exist; its P is frozen on the job.
1. `start`: `ExportStarted` to every partition.
2. `send_group`: the chunks of one group, with a sequence per partition. Groups are independent and may be sent in
   parallel, by several processes.
3. `end`: once all groups are sent, `ExportEnded` to every partition, with the totals of all groups.
`abort` at any time instead: `ExportAborted` to every partition.

A step returns once the broker has acknowledged everything it sent (idempotent producer, acks=all, every delivery report
checked). A step that died, or whose answer was lost, is run again with the same values: the same rows in the same order
become the same chunks under the same (export, attempt, partition, group, seq); receivers accept one chunk per key and
ignore a repeated marker. So no step checks what an earlier run of it has sent. Per group, memory holds one batch, one
unfinished chunk per partition (up to 768 KiB each), and up to 64 MiB of messages.

Every step opens its own log (`open_topic`): a log that has failed stays failed.
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
from connectors.sinks.topic_messages import marker_of, messages_of
from schemas.arrow import arrow_schema
from schemas.digest import Digest
from schemas.errors import FatalError, UserError
from schemas.ids import Partition
from schemas.log_ids import Headers
from schemas.manifest import Change
from schemas.messages import ExportAborted, ExportEnded, ExportStarted
from schemas.warm import warm

CLIENT_ID: Final = "muster-exporter"
REFUSED_BY_TOPIC: Final = {
    "TOPIC_AUTHORIZATION_FAILED": "Muster may not write to it",
    "INVALID_RECORD": "it rejects messages without a key: a compacted topic would discard chunks and markers",
    "POLICY_VIOLATION": "a broker policy rejects the messages",
    "MSG_SIZE_TOO_LARGE": "its max.message.bytes is too small; Kafka's default, 1048588, is enough",
    "RECORD_LIST_TOO_LARGE": "its segment.bytes is smaller than a batch of messages",
    "UNKNOWN_TOPIC_OR_PART": "it was deleted during the export",
    "_UNKNOWN_TOPIC": "it was deleted during the export",
    "_UNKNOWN_PARTITION": "it was deleted during the export, or recreated with fewer partitions",
}
"""Errors of librdkafka that are the topic's fault, so that its owner has to act.

Any other error is an outage, or a fault of the deployment.
"""

RowsListener = Callable[[int], None]
"""Called with the rows of the group that have been queued so far; an exception it raises ends the step."""

ChangedRows = tuple[Change | None, Iterable[pa.RecordBatch]]
"""Rows sorted by user id, and their change; None for the rows of a whole version."""


def open_topic(bootstrap: str, topic: str, *, headers: Headers = (), delivery_timeout_s: float = 120.0) -> TopicLog:
    """A topic to write to, for one step. Connects on first use. `headers`: of all messages (`headers_of`).

    `delivery_timeout_s` bounds how long a message may stay unacknowledged before the step fails as an outage.
    """
    return KafkaTopicLog(bootstrap, topic, client_id=CLIENT_ID, delivery_timeout_s=delivery_timeout_s, headers=headers)


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
            sender.put(partition, marker_of(export, _started(export, partition)))
        sender.await_acknowledgements()


def send_group(
    export: TopicExport,
    log: TopicLog,
    *,
    group: int,
    rows: Iterable[ChangedRows],
    on_rows: RowsListener = lambda _: None,
) -> GroupSent:
    """Step 2, for one group (0..): its rows, or in a delta first the added rows, then the removed ones.

    `rows` may be a generator that reads while this sends. Batches need the columns of the export, by name; they may be
    cut anywhere, but their rows must come in the same order every time. No user is in two groups. Raises the errors of
    `rows` and `on_rows`, and those of `start`; in each case nothing queued is sent any more.
    """
    delta = export.base_version is not None
    schema = arrow_schema(export.columns)
    parts, messages = _Parts(export), messages_of(export)

    def send(piece: Piece, change: Change | None, sender: PlainSender) -> None:
        count = 0
        for key, value in messages.rows(group, change, piece):
            sender.put(piece.partition, value, key)
            count += 1
        parts.add(piece, change, count)

    warm()
    with _sending(export, log) as sender:
        cutter = RowCutter(schema=export.columns, ordinal=False, partitions=export.partitions)
        queued = 0
        for change, batches in rows:
            if (change is not None) != delta:
                raise ValueError(
                    f"rows are marked {change} in an export of {'a delta' if delta else 'a whole version'}"
                )
            for batch in batches:
                selected = batch.select(schema.names).cast(schema)
                for piece in cutter.add(selected):
                    send(piece, change, sender)
                queued += selected.num_rows
                on_rows(queued)
            for piece in cutter.finish():  # all rows of a chunk have the same change
                send(piece, change, sender)
        sender.await_acknowledgements()
        return GroupSent(
            export_id=export.export_id,
            attempt=export.attempt,
            group=group,
            bytes=sender.bytes,
            partitions=parts.sent(),
        )


def end(export: TopicExport, log: TopicLog, groups: Sequence[GroupSent]) -> None:
    """Step 3: `groups` are all groups of the export, in any order. From here on receivers have the whole export.

    The caller checks beforehand that they add up to the digest of the version (`topic_export.totals`). Raises
    `FatalError` EXPORT_MISMATCH if a group is missing, repeated or foreign, and the errors of `start`.
    """
    _refuse_incomplete(export, groups)
    ordered = sorted(groups, key=lambda sent: sent.group)
    with _sending(export, log) as sender:
        for partition in _partitions(export):
            ended = _ended(export, partition, [sent.partitions[partition] for sent in ordered])
            sender.put(partition, marker_of(export, ended))
        sender.await_acknowledgements()


def abort(export: TopicExport | ExportAttempt, log: TopicLog, *, reason: str) -> None:
    """Tell every partition of the export that still exists that this attempt will not finish.

    A missing topic is no error. Must not be called once `end` has returned: receivers then have the export. Raises the
    errors of `start`, except TOPIC_PARTITIONS_CHANGED: aborting is the way out of that one.
    """
    with _faults_of(log):
        try:
            partitions = min(log.partitions(), export.partitions)
        except FatalError as exc:
            if exc.code == "TOPIC_MISSING":  # then no receiver waits for an end
                return
            raise
        sender = PlainSender(log)
        for partition in map(Partition, range(partitions)):
            aborted = ExportAborted(
                export_id=export.export_id, attempt=export.attempt, partition=partition, reason=reason
            )
            sender.put(partition, marker_of(export, aborted))
        sender.await_acknowledgements()


class _Parts:
    """Chunks and digests of a group by partition, counted while it is sent."""

    def __init__(self, export: TopicExport) -> None:
        empty = Digest(schema_id=export.columns.schema_id)
        self._chunks = [0] * export.partitions
        self._digests = [empty] * export.partitions
        self._removed = [empty] * export.partitions

    def add(self, piece: Piece, change: Change | None, messages: int) -> None:
        digests = self._removed if change == "removed" else self._digests
        digests[piece.partition] += piece.digest
        self._chunks[piece.partition] += messages

    def sent(self) -> tuple[SentPart, ...]:
        return tuple(
            SentPart(chunks=chunks, digest=digest, removed=removed)
            for chunks, digest, removed in zip(self._chunks, self._digests, self._removed, strict=True)
        )


@contextmanager
def _sending(export: TopicExport, log: TopicLog) -> Iterator[PlainSender]:
    """Sender for one step, if P is still the one users were partitioned by; a failed step leaves nothing queued."""
    with _faults_of(log):
        if (found := log.partitions()) != export.partitions:
            raise UserError(
                "TOPIC_PARTITIONS_CHANGED",
                f"topic {log.topic} has {found} partitions, but had {export.partitions} when the export began: "
                "receivers would look up users in the wrong partitions. Export again",
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
    """Translate refusals by the topic into faults of the destination."""
    try:
        yield
    except FatalError as exc:
        if exc.code == "TOPIC_MISSING":
            why = "it does not exist, and Muster does not create topics for exports: create it, or choose another topic"
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
            else f"the groups are {numbers}: each number from 0 must occur exactly once",
            export=export.export_id,
            groups=foreign or numbers,
        )
