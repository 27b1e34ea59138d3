"""Record batches as Kafka keeps them, made by aiokafka."""

from collections.abc import Sequence
from typing import Final

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from segmentation.intake.topic_records import RecordBatch, TopicRecord

HEADER_BYTES: Final = 61
HEADERS: Final = [("trace", b"1"), ("none", None)]


def packed(records: Sequence[TopicRecord], codec: int = 0) -> bytes:
    """A batch of the keys and values of these records, as a producer sends it. Some have headers."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 30,
    )
    for n, one in enumerate(records):
        builder.append(n, 0, one.key, one.value, HEADERS[: n % 3])
    return bytes(builder.build())


def in_a_batch(records: Sequence[TopicRecord], skipped: int = 0) -> RecordBatch:
    """Consecutive records that were received at one time, of which the first ones have been read before."""
    first = records[0]
    return RecordBatch(
        topic=first.topic,
        partition=first.partition,
        base=first.offset,
        first=first.offset + skipped,
        end=records[-1].end,
        received_at_us=first.received_at_us,
        body=packed(records)[HEADER_BYTES:],
    )
