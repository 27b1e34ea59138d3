"""One topic of a partition in a task: records that wait, records that were processed, rows not yet in the archive."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from schemas.errors import FatalError
from schemas.ids import Partition
from schemas.layout import s3_uri
from schemas.segment_messages import ArchiveWritten
from schemas.topics import ARCHIVE
from segmentation.archived import ArchivedLog
from segmentation.archiving import archive_files
from segmentation.intake.topic_records import RecordBatch, TopicRecord
from streams.lanes import Acknowledgeable, Lane
from streams.segments.config import SegmentWorkerConfig
from streams.segments.environment import TaskEnvironment, send_all
from streams.segments.tail import Piece, Tail

Received = TopicRecord | RecordBatch
OVERHEAD_BYTES: Final = 256
"""Of a batch or a record, besides its keys and values."""


@dataclass(frozen=True, slots=True)
class Drained:
    """Records to be processed, at their positions. They cover everything below `end`: a position may hold no record."""

    records: list[Received]
    end: int


class Input:
    """Records of `topic`, from the lane's position on. `position`: all records below it were processed.

    Lanes and the records they deliver use offsets of the log; everything else uses positions (`segmentation.archived`).
    """

    def __init__(
        self, topic: str, partition: Partition, lane: Lane, config: SegmentWorkerConfig, environment: TaskEnvironment
    ) -> None:
        self.lane = lane
        self.position = lane.position
        self.waiting_bytes = 0
        self.base = 0
        self._log_epoch = 0
        self.tail = Tail(topic, lane.position)
        self._topic = topic
        self._partition = partition
        self._config = config
        self._environment = environment
        self._acked = lane.position
        self._end = lane.position
        self._waiting: deque[Received] = deque()

    def begin(self, log: ArchivedLog) -> None:
        """Set the log that is read, before the first record is processed."""
        self.base, self._log_epoch = log.base.get(self._partition, 0), log.epoch
        self.position = self._acked = self.lane.position + self.base
        # The archive has everything that was acknowledged, also if the last report of its end is a late, earlier one.
        archived_to = self._environment.archived.get((self._topic, self._partition), self.position)
        self.tail = Tail(self._topic, max(archived_to, self.position))

    @property
    def has_waiting(self) -> bool:
        """True if records wait to be processed."""
        return bool(self._waiting)

    @property
    def at_rest(self) -> bool:
        """True if all records so far were processed, and the archive's table has their rows."""
        return self._end + self.base == self.position == self.tail.end == self.tail.archived_to

    @property
    def full(self) -> bool:
        """True if too many processed rows are not yet in the archive; no more records are given out then."""
        return self.tail.bytes > self._config.tail_bytes

    def put(self, records: Sequence[Received]) -> None:
        """Add the next records (at least one)."""
        self._waiting.extend(records)
        self._end = records[-1].end
        self.waiting_bytes += sum(map(_size, records))

    def skip_to(self, end: int, gap: Acknowledgeable) -> None:
        """Skip the offsets from the next record's up to `end`, exclusive, which hold no record."""
        self.lane.skip_to(end, gap)
        self._end = self.lane.due

    def drain(self) -> Drained:
        """The next records, in order; none while it is `full`."""
        records: list[Received] = []
        if self.full:
            return Drained(records, self.position)
        size = 0
        while self._waiting and size < self._config.step_bytes:
            record = self._waiting.popleft()
            size += _size(record)
            records.append(record)
        self.waiting_bytes -= size
        if self.base:
            records = [record.moved(self.base) for record in records]
        return Drained(records, (self._waiting[0].first if self._waiting else self._end) + self.base)

    def processed(self, drained: Drained, rows: pa.RecordBatch) -> None:
        """The fold has processed these records; `rows` are their rows."""
        self.position = drained.end
        self.tail.add(rows, self.position, self._environment.monotonic())

    async def archive(self) -> None:
        """Write due rows to files and announce them; acknowledge records that the archive's table has.

        Raises `FatalError` ARCHIVE_GAP.
        """
        now = self._environment.monotonic()
        committed = self._environment.archived.get((self._topic, self._partition))
        if committed is not None:
            self._check(committed)
            self.tail.committed(committed, now)
        self.tail.retry(now, self._config.archive_again_s)
        due = self.tail.due(now, bytes_=self._config.archive_bytes, after_s=self._config.archive_after_s)
        if due is not None:
            files = await self._environment.in_thread(self._write, due)
            written = ArchiveWritten(
                topic=self._topic,
                partition=self._partition,
                first_offset=due.first,
                end_offset=due.end,
                files=tuple(uri for uri, _ in files),
                era=self._log_epoch,
            )
            await send_all(self._environment, [(ARCHIVE, None, f"{self._topic}/{self._partition}".encode(), written)])
            self.tail.announced(due, [content for _, content in files], self._environment.monotonic())
        durable_to = min(self.tail.archived_to, self.position)
        if durable_to > self._acked:
            self.lane.done_to(durable_to - self.base)
            self._acked = durable_to

    def _check(self, archived_to: int) -> None:
        if archived_to < self._acked:
            where = f"{self._topic}/{self._partition}"
            end, committed = archived_to - self.base, self._acked - self.base
            raise FatalError(
                "ARCHIVE_GAP",
                f"{where}: the archive ends at offset {end}, but the group has committed {committed}: the group's "
                "offset was moved, or the lake was restored from an older backup. Set the offset of the group to "
                f"{end}, or as close to it as the log allows.",
                topic=self._topic,
                partition=self._partition,
                archived_to=end,
                committed=committed,
            )

    def _write(self, piece: Piece) -> list[tuple[str, bytes]]:
        """Write files; returns the URI and the content of each."""
        files = []
        for file in archive_files(
            self._topic, self._partition, piece.read(), first_offset=piece.first, end_offset=piece.end
        ):
            self._environment.store.put_new(self._config.lake_bucket, str(file.key), file.content)
            files.append((s3_uri(self._config.lake_bucket, str(file.key)), file.content))
        return files


def _size(received: Received) -> int:
    return len(received) + OVERHEAD_BYTES
