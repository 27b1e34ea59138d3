"""Offsets of a partition that hold no record: transaction markers, and records of aborted transactions.

A consumer gets nothing for these offsets, nor for a record that was lost on the way. So at a skipped offset, another
consumer reads the log again: only what it does not find either was never there.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator

from segmentation.intake.topic_records import RecordBatch, TopicRecord
from streams.segments.environment import Log


class OffsetGaps:
    """Gaps of one partition. `log` creates a reader of the partition's committed records.

    Offsets read at once are remembered, so that a producer of many small transactions causes few reads.
    """

    def __init__(self, log: Callable[[], Log]) -> None:
        self._log = log
        self._first = 0
        self._records: list[int] = []

    async def is_gap(self, due: int, got: int) -> bool:
        """True if the first record from `due` on is the one at `got`, which was read."""
        if not (self._records and self._first <= due and got <= self._records[-1]):
            await self._read(due, got)
        index = bisect_left(self._records, due)
        return index < len(self._records) and self._records[index] == got

    async def end_of_gap(self, due: int) -> int:
        """The end of the log if no record lies between `due` and it; else `due`."""
        reader = self._log()
        try:
            await reader.start(due)
            end = await reader.end()
            async for _ in reader.read_to(end):
                return due
            return max(due, end) if await reader.begin() <= due else due
        finally:
            await reader.stop()

    async def _read(self, due: int, got: int) -> None:
        """Remember the records from `due` to `got`, and those fetched with them; none if some have expired."""
        self._first, self._records = due, []
        found: list[int] = []
        reader = self._log()
        try:
            await reader.start(due)
            async for record in reader.read_to(got + 1):
                found.append(record.offset)
                if found[0] != got:
                    break
            if await reader.begin() <= due:
                self._records = found
        finally:
            await reader.stop()


def without_gaps(received: deque[TopicRecord | RecordBatch]) -> Iterator[TopicRecord | RecordBatch]:
    """Take records from the left while their offsets are consecutive."""
    yield (last := received.popleft())
    while received and received[0].first == last.end:
        yield (last := received.popleft())
