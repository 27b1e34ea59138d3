"""Offsets of a partition that hold no record: markers of transactions, and what was sent in one that was aborted.

Whoever reads is given nothing for these, and nothing for a record that was lost on the way either. So where an offset
is left out the log is read once more, by another consumer: only what that does not find either was never there.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from streams.segments.environment import Log


class OffsetGaps:
    """Of one partition. `log` makes a reader of it, which gives out what is committed.

    What was read in one go is remembered, so that a producer of many small transactions costs few reads.
    """

    def __init__(self, log: Callable[[], Log]) -> None:
        self._log = log
        self._first = 0
        self._records: list[int] = []

    async def nothing_between(self, due: int, got: int) -> bool:
        """Whether the first record from `due` on is the one at `got`, which was read."""
        if not (self._records and self._first <= due and got <= self._records[-1]):
            await self._read(due, got)
        index = bisect_left(self._records, due)
        return index < len(self._records) and self._records[index] == got

    async def end_of_gap(self, due: int) -> int:
        """The end of the log, where no record lies between it and `due`; else `due`."""
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
        """Remember the records from `due` to `got`, and those that come along; none where some have expired."""
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


def without_gaps(records: deque[Any]) -> Iterator[Any]:
    """Take records from the left (by `offset`) as long as no offset is left out between two."""
    yield (last := records.popleft())
    while records and records[0].offset == last.offset + 1:
        yield (last := records.popleft())
