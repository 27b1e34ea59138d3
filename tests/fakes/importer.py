"""Publishes imports to Kafka as the importer does, and misbehaves where a test asks for it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
from confluent_kafka import Producer

from connectors.kafka.logon import librdkafka_config
from schemas.arrow import arrow_schema
from schemas.codec import CODEC
from schemas.columns import Column, RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, AudienceName, JobId, Partition, Seq, TenantName
from schemas.messages import ImportAborted, ImportEnded, ImportMessage, ImportStarted, UserChunk
from schemas.partitioning import partition_users
from schemas.row_digest import digest_rows
from schemas.rows import encode_rows
from schemas.topics import IMPORTS

SCHEMA: Final = RowSchema(columns=(Column(name="age", type="long"), Column(name="country")))
DATA_PREFIX: Final = "s3://lake/audiences/acme/vip/data/"


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeImport:
    """The messages of one attempt, in order per partition."""

    import_id: JobId
    attempt: Attempt
    partitions: int
    messages: tuple[ImportMessage, ...]

    def chunks(self) -> list[UserChunk]:
        """Only the chunks."""
        return [m for m in self.messages if isinstance(m, UserChunk)]

    def markers(self) -> list[ImportEnded]:
        """Only the end markers."""
        return [m for m in self.messages if isinstance(m, ImportEnded)]

    def without(self, drop: Callable[[ImportMessage], bool]) -> "FakeImport":
        """The same import without the messages that `drop` selects."""
        return replace(self, messages=tuple(m for m in self.messages if not drop(m)))


def users(count: int, *, first: int = 0, doubled: int = 0) -> pa.Table:
    """`count` distinct users, then `doubled` of them again with other attributes."""
    numbers = np.concatenate([np.arange(first, first + count), np.arange(first, first + doubled)])
    return pa.table(
        {
            "_ordinal": pa.array(np.arange(len(numbers)), pa.int64()),
            "user_id": pa.array([f"{n * 2654435761 % 2**32:08x}-user-{n}" for n in numbers.tolist()], pa.string()),
            "age": pa.array(np.arange(len(numbers)) % 90, pa.int64()),
            "country": pa.array(np.array(["JP", "DE", None], object)[np.arange(len(numbers)) % 3], pa.string()),
        },
        schema=arrow_schema(SCHEMA, ordinal=True),
    )


def make_import(
    import_id: str,
    rows: pa.Table,
    *,
    partitions: int,
    attempt: int = 1,
    chunk_rows: int = 5_000,
    data_prefix: str = DATA_PREFIX,
) -> FakeImport:
    """Start markers, chunks and end markers of some rows."""
    name, number = JobId(import_id), Attempt(attempt)
    table = rows.combine_chunks()
    grouped = partition_users(table.column("user_id").combine_chunks(), partitions)
    starts: list[ImportMessage] = []
    chunks: list[ImportMessage] = []
    ends: list[ImportMessage] = []
    for p in range(partitions):
        part = Partition(p)
        starts.append(
            ImportStarted(
                tenant=TenantName("acme"),
                audience=AudienceName("vip"),
                import_id=name,
                attempt=number,
                partition=part,
                partitions=partitions,
                kind="audience",
                mode="replace",
                source="s3://inbox/acme/vip/users.csv",
                columns=SCHEMA,
            )
        )
        mine = table.take(pa.array(grouped.order[grouped.starts[p] : grouped.starts[p + 1]]))
        total = Digest(schema_id=SCHEMA.schema_id)
        sent = 0
        for start in range(0, mine.num_rows, chunk_rows):
            batch = mine.slice(start, chunk_rows).combine_chunks().to_batches()[0]
            digest = digest_rows(batch, SCHEMA)
            chunks.append(
                UserChunk(
                    import_id=name,
                    attempt=number,
                    partition=part,
                    seq=Seq(sent),
                    count=batch.num_rows,
                    digest=digest,
                    rows=encode_rows(batch),
                )
            )
            total += digest
            sent += 1
        ends.append(
            ImportEnded(
                tenant=TenantName("acme"),
                audience=AudienceName("vip"),
                import_id=name,
                attempt=number,
                partition=part,
                partitions=partitions,
                columns=SCHEMA,
                data_prefix=data_prefix,
                chunks=sent,
                records=mine.num_rows,
                digest=total,
            )
        )
    # Reading a file produces chunks of all partitions in turn.
    by_seq = sorted(chunks, key=lambda c: (c.seq, c.partition) if isinstance(c, UserChunk) else (0, 0))
    return FakeImport(import_id=name, attempt=number, partitions=partitions, messages=(*starts, *by_seq, *ends))


def abort(imported: FakeImport, reason: str = "cancelled") -> list[ImportAborted]:
    """Abort markers of an import, one per partition."""
    return [
        ImportAborted(import_id=imported.import_id, attempt=imported.attempt, partition=Partition(p), reason=reason)
        for p in range(imported.partitions)
    ]


def send(bootstrap: str, messages: Iterable[ImportMessage], topic: str = IMPORTS) -> None:
    """Publish messages, each to its partition, and wait for every acknowledgement."""
    send_raw(bootstrap, ((m.partition, CODEC.encode(m)) for m in messages), topic)


def send_raw(bootstrap: str, values: Iterable[tuple[int, bytes]], topic: str = IMPORTS) -> None:
    """Publish bytes to partitions, and wait for every acknowledgement."""
    producer = Producer(
        {
            **librdkafka_config(bootstrap),
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "compression.type": "zstd",
            "compression.level": 1,
            "queue.buffering.max.kbytes": 65536,
        }
    )
    errors: list[str] = []

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            errors.append(str(error))

    for partition, value in values:
        while True:
            try:
                producer.produce(topic, value, partition=partition, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush()
    assert not errors, errors


def interleave(*imports: Sequence[ImportMessage]) -> list[ImportMessage]:
    """Alternate the messages of several imports."""
    queues = [list(messages) for messages in imports]
    mixed: list[ImportMessage] = []
    while any(queues):
        mixed += [queue.pop(0) for queue in queues if queue]
    return mixed
