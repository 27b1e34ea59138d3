"""The end of the log: rows of a partition that were taken and are not yet in the archive's table."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.activity import OFFSET
from segmentation.archiving import archived_rows

Contents = Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The rows of the records `first`..`end` - 1 of a topic. `since`: when they were taken, seconds of a steady clock.

    They are in `rows`, or, once they were written to files, in the contents of these, which take far less memory.
    """

    topic: str
    first: int
    end: int
    rows: pa.Table | None
    files: Contents = ()
    since: float

    @property
    def bytes(self) -> int:
        """Bytes in memory."""
        return sum(map(len, self.files)) if self.rows is None else int(self.rows.nbytes)

    def read(self) -> pa.Table:
        """The rows."""
        return archived_rows(self.topic, self.files) if self.rows is None else self.rows


class Tail:
    """The tail of one topic in one partition.

    `archived_to`: the table has all rows below it. `written_to`: files with all rows below it have been announced.
    Files announced but not committed in time are announced again, as one file: the committer knows what it has. If the
    table then ends at another position than an announced file, the rows after it are written as new files.
    """

    def __init__(self, topic: str, archived_to: int) -> None:
        self.archived_to = archived_to
        self.written_to = archived_to
        self._topic = topic
        self._pieces: deque[Piece] = deque()
        self._announced_at: float | None = None
        self._ends: set[int] = set()

    @property
    def bytes(self) -> int:
        """Bytes of all rows in memory. Callable from any thread."""
        return sum(piece.bytes for piece in list(self._pieces))

    @property
    def end(self) -> int:
        """The position below which everything has been taken."""
        return self._pieces[-1].end if self._pieces else self.archived_to

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """All rows not in the table, in order."""
        for piece in self._pieces:
            yield from piece.read().to_batches()

    def add(self, rows: pa.RecordBatch, end: int, now: float) -> None:
        """Add the rows of the next records up to `end`, without those that the table has."""
        if end <= self.end:
            return
        rows = rows.slice(np.searchsorted(rows.column(OFFSET).to_numpy(), self.end))
        table = pa.Table.from_batches([rows])
        self._pieces.append(Piece(topic=self._topic, first=self.end, end=end, rows=table, since=now))

    def due(self, now: float, *, bytes_: int, after_s: float) -> Piece | None:
        """The rows to be written now, as one piece. None if nothing is due."""
        waiting = [piece for piece in self._pieces if piece.first >= self.written_to]
        if not waiting:
            return None
        if now - waiting[0].since < after_s and sum(piece.bytes for piece in waiting) < bytes_:
            return None
        rows = pa.concat_tables([piece.read() for piece in waiting])  # copies nothing
        return replace(waiting[0], end=waiting[-1].end, rows=rows, files=())

    def announced(self, written: Piece, files: Contents, now: float) -> None:
        """A piece that was due is durable in files with these contents, and announced to the committer."""
        self.written_to = written.end
        self._announced_at = now
        self._ends.add(written.end)
        if not files:
            return
        before = [piece for piece in self._pieces if piece.end <= written.first]
        after = [piece for piece in self._pieces if piece.first >= written.end]
        self._pieces = deque([*before, replace(written, rows=None, files=files), *after])

    def committed(self, end: int, now: float) -> None:
        """The table reports all rows below `end`."""
        if end <= self.archived_to:
            return
        while self._pieces and self._pieces[0].end <= end:
            self._pieces.popleft()
        self.archived_to = end
        if self._pieces and self._pieces[0].first < end:
            cut = self._pieces.popleft()
            rows = cut.read()
            rest = rows.filter(pc.greater_equal(rows.column(OFFSET), end))
            self._pieces.appendleft(replace(cut, first=end, rows=rest, files=()))
        self.written_to = max(self.written_to, end) if end in self._ends else end
        self._ends = {later for later in self._ends if end < later <= self.written_to}
        self._announced_at = now if self._ends else None

    def retry(self, now: float, after_s: float) -> None:
        """Schedule rows for another write if they were announced `after_s` ago or earlier."""
        if self._announced_at is not None and now - self._announced_at >= after_s:
            self.written_to = self.archived_to
            self._announced_at = None
            self._ends.clear()
