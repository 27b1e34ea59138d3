"""The end of the log: rows of a partition that were taken and are not yet in the archive's table."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.activity import OFFSET


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The rows of the records `first`..`end` - 1. `since`: when they were taken, in seconds of a steady clock."""

    first: int
    end: int
    rows: pa.Table
    since: float
    bytes: int


class Tail:
    """The tail of one topic in one partition.

    `archived_to`: the table has all rows below it. `written_to`: files with all rows below it have been announced.
    Files announced but not committed in time are announced again, as one file: the committer knows what it has. If the
    table then ends at another position than an announced file, the rows after it are written as new files.
    """

    def __init__(self, archived_to: int) -> None:
        self.archived_to = archived_to
        self.written_to = archived_to
        self._pieces: deque[Piece] = deque()
        self._announced_at: float | None = None
        self._ends: set[int] = set()

    @property
    def bytes(self) -> int:
        """Bytes of all rows in memory."""
        return sum(piece.bytes for piece in self._pieces)

    @property
    def end(self) -> int:
        """The position below which everything has been taken."""
        return self._pieces[-1].end if self._pieces else self.archived_to

    def rows(self) -> list[pa.RecordBatch]:
        """All rows not in the table, in order."""
        return [batch for piece in self._pieces for batch in piece.rows.to_batches()]

    def add(self, rows: pa.RecordBatch, end: int, now: float) -> None:
        """Add the rows of the next records up to `end`, without those that the table has."""
        if end <= self.end:
            return
        rows = rows.slice(np.searchsorted(rows.column(OFFSET).to_numpy(), self.end))
        self._pieces.append(_piece(self.end, end, pa.Table.from_batches([rows]), now))

    def due(self, now: float, *, bytes_: int, after_s: float) -> Piece | None:
        """The rows to be written now, as one piece. None if nothing is due."""
        waiting = [piece for piece in self._pieces if piece.first >= self.written_to]
        if not waiting:
            return None
        size = sum(piece.bytes for piece in waiting)
        if now - waiting[0].since < after_s and size < bytes_:
            return None
        rows = pa.concat_tables([piece.rows for piece in waiting])  # copies nothing
        return Piece(first=waiting[0].first, end=waiting[-1].end, rows=rows, since=waiting[0].since, bytes=size)

    def announced(self, end: int, now: float) -> None:
        """Files with the rows below `end` are durable and announced to the committer."""
        self.written_to = end
        self._announced_at = now
        self._ends.add(end)

    def committed(self, end: int, now: float) -> None:
        """The table reports all rows below `end`."""
        if end <= self.archived_to:
            return
        while self._pieces and self._pieces[0].end <= end:
            self._pieces.popleft()
        self.archived_to = end
        if self._pieces and self._pieces[0].first < end:
            cut = self._pieces.popleft()
            rest = cut.rows.filter(pc.greater_equal(cut.rows.column(OFFSET), end))
            self._pieces.appendleft(_piece(end, cut.end, rest, cut.since))
        self.written_to = max(self.written_to, end) if end in self._ends else end
        self._ends = {later for later in self._ends if end < later <= self.written_to}
        self._announced_at = now if self._ends else None

    def retry(self, now: float, after_s: float) -> None:
        """Schedule rows for another write if they were announced `after_s` ago or earlier."""
        if self._announced_at is not None and now - self._announced_at >= after_s:
            self.written_to = self.archived_to
            self._announced_at = None
            self._ends.clear()


def _piece(first: int, end: int, rows: pa.Table, since: float) -> Piece:
    return Piece(first=first, end=end, rows=rows, since=since, bytes=rows.nbytes)
