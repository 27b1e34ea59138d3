"""Compression by content, never by name: gzip (several members) and Zstandard (several frames), with bounds.

A stream that ends early is TRUNCATED_FILE, damage and trailing garbage are CORRUPT_FILE, and output beyond the limits
is COMPRESSION_BOMB. Output is produced in pieces no larger than the caller's buffer, so a bomb never sits in memory.
"""

from typing import Final, Literal, Protocol

import pyarrow as pa
from isal import isal_zlib

from schemas.errors import UserError

Compression = Literal["none", "gzip", "zstd"]

GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"
"""Bytes 1 to 3 of a skippable frame; byte 0 is 0x50 to 0x5f."""
MAGIC_BYTES: Final = 8
INPUT_BYTES: Final = 256 * 1024
GZIP_WINDOW: Final = 31  # zlib's word for "a gzip header, 32 KiB window"

RATIO_FREE_BYTES: Final = 64 * 1024 * 1024
"""The ratio of decompressed to compressed bytes counts only beyond this many decompressed bytes."""


class ByteSource(Protocol):
    """Bytes in order; `readinto` returns how many it wrote, 0 at the end."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill part of the buffer, at least one byte unless the source has ended. Blocks."""


def sniff(start: bytes) -> Compression:
    """Compression according to the first `MAGIC_BYTES` bytes of a file."""
    if start.startswith(GZIP_MAGIC):
        return "gzip"
    if start.startswith(ZSTD_MAGIC) or (start[1:4] == ZSTD_SKIPPABLE and 0x50 <= start[0] <= 0x5F):
        return "zstd"
    return "none"


class CountedSource:
    """Counts the bytes read, and puts `start` (already read from `source`) before them."""

    def __init__(self, source: ByteSource, start: bytes = b"") -> None:
        self._source = source
        self._start = start
        self.bytes_read = 0

    def readinto(self, buffer: memoryview) -> int:
        """See `ByteSource`."""
        if self._start:
            n = min(len(buffer), len(self._start))
            buffer[:n] = self._start[:n]
            self._start = self._start[n:]
        else:
            n = self._source.readinto(buffer) or 0
        self.bytes_read += n
        return n

    def read(self, size: int = -1) -> bytes:
        """See `io.RawIOBase.read`, for Arrow; returns at most `INPUT_BYTES` at once."""
        buffer = bytearray(INPUT_BYTES if size < 0 else min(size, INPUT_BYTES))
        n = self.readinto(memoryview(buffer))
        return bytes(buffer[:n])

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    @property
    def closed(self) -> bool:
        """See `io.RawIOBase`."""
        return False

    def close(self) -> None:
        """See `io.RawIOBase`; the source stays open."""


class Decompressed:
    """The decompressed bytes of a source. Raises `UserError` TRUNCATED_FILE, CORRUPT_FILE, COMPRESSION_BOMB."""

    def __init__(
        self, source: CountedSource, compression: Compression, *, max_decoded_bytes: int, max_ratio: float
    ) -> None:
        self._source = source
        self._compression = compression
        self._max_decoded_bytes = max_decoded_bytes
        self._max_ratio = max_ratio
        self._inner: ByteSource = source
        if compression == "gzip":
            self._inner = _Gzip(source)
        elif compression == "zstd":
            self._inner = _Zstandard(source)
        self.bytes_decoded = 0

    def readinto(self, buffer: memoryview) -> int:
        """See `ByteSource`."""
        n = self._inner.readinto(buffer)
        self.bytes_decoded += n
        if self.bytes_decoded > self._max_decoded_bytes:
            raise UserError(
                "COMPRESSION_BOMB" if self._compression != "none" else "FILE_TOO_LARGE",
                f"the file holds more than {self._max_decoded_bytes} bytes when it is decompressed",
                limit_bytes=self._max_decoded_bytes,
            )
        if (
            self._compression != "none"
            and self.bytes_decoded > RATIO_FREE_BYTES
            and self.bytes_decoded > self._max_ratio * self._source.bytes_read
        ):
            raise ratio_exceeded(self._max_ratio, self._source.bytes_read, self.bytes_decoded)
        return n


def ratio_exceeded(limit: float, source_bytes: int, decoded_bytes: int) -> UserError:
    """COMPRESSION_BOMB for a file that unpacks to too many times its size."""
    return UserError(
        "COMPRESSION_BOMB",
        f"the file decompresses to more than {limit:g} times its size",
        limit_ratio=limit,
        source_bytes=source_bytes,
        decoded_bytes=decoded_bytes,
    )


class _Gzip:
    """Consecutive members (RFC 1952); zero bytes after the last one are padding."""

    def __init__(self, source: CountedSource) -> None:
        self._source = source
        self._member = isal_zlib.decompressobj(wbits=GZIP_WINDOW)
        self._input = b""
        self._members = 0

    def readinto(self, buffer: memoryview) -> int:
        while True:
            if self._member.eof and not self._next_member():
                return 0
            try:
                out = self._member.decompress(self._input, len(buffer))
            except isal_zlib.error as exc:  # type: ignore[misc]  # isal's stub calls it an instance
                raise UserError("CORRUPT_FILE", f"the gzip data is damaged: {exc}") from exc
            self._input = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if out:
                buffer[: len(out)] = out
                return len(out)
            if not self._member.eof and not self._input:
                self._input = self._source.read()
                if not self._input:
                    raise UserError("TRUNCATED_FILE", "the gzip data ends before the end of the stream")

    def _next_member(self) -> bool:
        rest = self._input
        while len(rest) < len(GZIP_MAGIC) or not rest.strip(b"\0"):
            more = self._source.read()
            if not more:
                break
            rest = rest.lstrip(b"\0") + more if rest.strip(b"\0") else more
        if not rest.strip(b"\0"):
            return False
        if not rest.startswith(GZIP_MAGIC):
            raise UserError("CORRUPT_FILE", "there is other data after the end of the gzip data")
        self._input = rest
        self._member = isal_zlib.decompressobj(wbits=GZIP_WINDOW)
        return True


class _Zstandard:
    def __init__(self, source: CountedSource) -> None:
        self._stream = pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "zstd")

    def readinto(self, buffer: memoryview) -> int:
        try:
            return int(self._stream.readinto(buffer))
        except OSError as exc:
            if "Truncated" in str(exc):
                raise UserError("TRUNCATED_FILE", "the Zstandard data ends before the end of the stream") from exc
            raise UserError("CORRUPT_FILE", f"the Zstandard data is damaged: {exc}") from exc
