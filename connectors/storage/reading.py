"""Reads a pinned object in order, over more connections while the reader waits for a slow one.

S3 gives a connection 20 to 90 MB/s, less than a parser takes. One connection reads with one request for as long as it
lasts, since each further request costs a server nearby about as much as the bytes; several read exact ranges.
"""

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from connectors.storage.errors import translated
from connectors.storage.pinned import PinnedBody, SourceObject
from schemas.errors import RetriableError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

BLOCK_BYTES: Final = 2 * 1024 * 1024
CONNECTIONS: Final = 8
"""The most that one object is read over."""
FAST_BYTES_S: Final = 100_000_000
"""More than S3 gives a connection: a reader that waits for such a one waits for this machine."""
MEASURED_S: Final = 0.25
"""How long a number of connections is measured at least."""
WORTH: Final = 1.3
"""More connections are kept if they bring at least so much as much as fewer did."""
SPARE: Final = 3
"""Blocks that are kept ready ahead of the reader, besides one for each connection."""
PAUSE_S: Final = 0.2
PAUSE_MAX_S: Final = 5.0


def read_block(
    body: PinnedBody, start: int, length: int, *, resume_s: float, stop: threading.Event | None = None
) -> bytes:
    """`length` bytes from `start`; resumes a broken connection at the byte where it broke.

    Raises `RetriableError` S3_UNAVAILABLE after `resume_s` without a byte, or at the next fault once `stop` is set;
    `UserError` SOURCE_CHANGED and SOURCE_GONE.
    """
    source = body.source
    content = bytearray()
    last_byte = time.monotonic()
    pause = PAUSE_S
    while len(content) < length:
        before = len(content)
        try:
            with translated(source.bucket, source.key):
                body.read_into(content, start, length)
        except RetriableError:
            now = time.monotonic()
            if len(content) > before:
                last_byte, pause = now, PAUSE_S
            if now - last_byte > resume_s or (stop is not None and stop.is_set()):
                raise
            time.sleep(pause)
            pause = min(2 * pause, PAUSE_MAX_S)
    return bytes(content)


class Pace:
    """How many connections the reader needs, from the times of its waits; all in seconds.

    More are tried while it waits for most of the time and each brings little. If they do not bring more together, it is
    not the connection that is slow: the former number stays to the end.
    """

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._now = self._former = 1
        self._rate = 0.0
        self._settled = False
        self._since = self._waited = 0.0
        self._blocks = -1  # the first one's time is that of connecting

    def connections(self, before: float, after: float) -> int:
        """How many to use from now on. The reader began to wait for a block at `before`, and has it since `after`."""
        if self._settled:
            return self._now
        self._blocks += 1
        if self._blocks <= 0:
            self._since, self._waited = after, 0.0
            return self._now
        self._waited += after - before
        elapsed = after - self._since
        if self._blocks < self._now or elapsed < MEASURED_S:
            return self._now
        rate = self._blocks * self._block_bytes / elapsed
        waiting = self._waited > elapsed / 2
        if waiting and self._now > self._former and rate < WORTH * self._rate:
            self._now, self._settled = self._former, True
        elif waiting and self._now < CONNECTIONS and rate < FAST_BYTES_S * self._now:
            self._former, self._now, self._rate = self._now, min(4 * self._now, CONNECTIONS), rate
            self._begin(after, skipped=self._now)  # those on their way were asked for before
        else:
            self._former = self._now
            self._begin(after, skipped=0)
        return self._now

    def _begin(self, since: float, *, skipped: int) -> None:
        self._since, self._waited, self._blocks = since, 0.0, -skipped


class ReadAhead:
    """The blocks of an object, or of its bytes `start` to `end`, in order, to iterate over once.

    A context manager, which ends the connections.

    Raises as `read_block`. A fault is raised in place of its block, after all blocks before it.
    """

    def __init__(
        self,
        client: "S3Client",
        source: SourceObject,
        *,
        start: int = 0,
        end: int | None = None,
        block_bytes: int = BLOCK_BYTES,
        resume_s: float,
    ) -> None:
        self._client = client
        self._source = source
        self._block_bytes = block_bytes
        self._resume_s = resume_s
        self._end = source.size if end is None else end
        self._starts = range(start, self._end, block_bytes)
        self._stop = threading.Event()
        self._change = threading.Condition()
        self._claimed = 0
        self._taken = 0
        self._read: dict[int, bytes | BaseException] = {}
        self._connections = 0
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        with self._change:
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[bytes]:
        self._connect(1)
        pace = Pace(self._block_bytes)
        for number in range(len(self._starts)):
            before = time.monotonic()
            block = self._take(number)
            self._connect(pace.connections(before, time.monotonic()))
            yield block

    def _connect(self, connections: int) -> None:
        """Read over so many connections from now on."""
        if connections == self._connections:
            return
        with self._change:
            self._connections = connections
            self._change.notify_all()
        for number in range(len(self._threads), connections):
            thread = threading.Thread(target=self._work, args=(number,), name=f"s3-read-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _take(self, number: int) -> bytes:
        with self._change:
            self._change.wait_for(lambda: number in self._read)
            block = self._read.pop(number)
            self._taken = number + 1
            self._change.notify_all()
        if isinstance(block, BaseException):
            raise block
        return block

    def _claim(self, connection: int) -> int | None:
        """The next block that no connection reads, once it is near enough. None if this connection is to end."""

        def over() -> bool:
            ended = self._stop.is_set() or self._claimed == len(self._starts)
            return ended or connection >= self._connections

        with self._change:
            self._change.wait_for(lambda: over() or self._claimed < self._taken + SPARE + self._connections)
            if over():
                return None
            self._claimed += 1
            return self._claimed - 1

    def _work(self, connection: int) -> None:
        """What one connection does."""
        body = PinnedBody(self._client, self._source, end=self._end)
        try:
            while (number := self._claim(connection)) is not None:
                start = self._starts[number]
                length = min(self._block_bytes, self._end - start)
                end = start + length if self._connections > 1 else self._end
                if end != body.end:
                    body.close()
                    body = PinnedBody(self._client, self._source, end=end)
                read: bytes | BaseException
                try:
                    read = read_block(body, start, length, resume_s=self._resume_s, stop=self._stop)
                except BaseException as exc:  # noqa: BLE001  # raised where the block is taken
                    read = exc
                with self._change:
                    self._read[number] = read
                    self._change.notify_all()
        finally:
            body.close()
