"""Compression is detected by content; damage, truncation and bombs are named."""

import gzip
import zlib
from functools import cache
from pathlib import Path

import pytest
import zstandard

from connectors.sources.limits import ParseLimits
from schemas.errors import UserError
from tests.unit.connectors.sources.reading import parse_file

TEXT = b"user_id,c\n" + b"".join(b"u%06d,%d\n" % (i, i * i) for i in range(20_000))


@cache
def zipped(content: bytes) -> bytes:
    """Every process makes the parameters below; compressing each again takes a second."""
    return gzip.compress(content)


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


HALF = TEXT.index(b"\nu010000") + 5  # in the middle of a record


@pytest.mark.parametrize(
    ("content", "compression"),
    [
        (TEXT, "none"),
        (zipped(TEXT), "gzip"),
        (zipped(TEXT[:HALF]) + zipped(b"") + zipped(TEXT[HALF:]), "gzip"),
        (zipped(TEXT) + b"\0" * 1_000, "gzip"),
        (zstd(TEXT), "zstd"),
        (zstd(TEXT[:HALF]) + zstd(b"") + zstd(TEXT[HALF:]), "zstd"),
        (b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd(TEXT), "zstd"),
    ],
    ids=["plain", "gzip", "gzip members", "gzip padding", "zstd", "zstd frames", "zstd skippable frame"],
)
def test_content_outweighs_the_file_name(content: bytes, compression: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.csv.bz2"
    file.write_bytes(content)
    found = parse_file(file, "c:long")
    assert len(found.rows) == 20_000
    assert found.rows[19_999] == (19_999, "u019999", 19_999**2)
    assert found.summary is not None
    assert (found.summary.compression, found.summary.source_bytes, found.summary.decoded_bytes) == (
        compression,
        len(content),
        len(TEXT),
    )


def flipped(content: bytes, at: int) -> bytes:
    damaged = bytearray(content)
    damaged[at] ^= 0xFF
    return bytes(damaged)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (zipped(TEXT)[:-1], "TRUNCATED_FILE"),
        (zipped(TEXT)[:-9], "TRUNCATED_FILE"),
        (zipped(TEXT)[:5], "TRUNCATED_FILE"),
        (zipped(TEXT) + zipped(TEXT)[:30], "TRUNCATED_FILE"),
        (zipped(TEXT) + b"and more", "CORRUPT_FILE"),
        (zipped(TEXT) + b"\0\0\0x", "CORRUPT_FILE"),
        (flipped(zipped(TEXT), -5), "CORRUPT_FILE"),
        (flipped(zipped(TEXT), -1), "CORRUPT_FILE"),
        (flipped(zipped(TEXT), 5_000), "CORRUPT_FILE"),
        (zstd(TEXT)[:-1], "TRUNCATED_FILE"),
        (zstd(TEXT)[:7], "TRUNCATED_FILE"),
        (zstd(TEXT) + zstd(TEXT)[:30], "TRUNCATED_FILE"),
        (zstd(TEXT) + b"and more", "CORRUPT_FILE"),
        (flipped(zstd(TEXT), -1), "CORRUPT_FILE"),
        (zipped(b""), "EMPTY_FILE"),
        (zstd(b""), "EMPTY_FILE"),
        (zipped(b"PAR1 whatever PAR1"), "UNKNOWN_FORMAT"),
        (zipped(zipped(TEXT)), "BAD_HEADER"),
        (b"PK\x03\x04 an Excel workbook", "UNKNOWN_FORMAT"),
        (b"BZh9 bzip2", "UNKNOWN_FORMAT"),
        (b"\xfd7zXZ\0 xz", "UNKNOWN_FORMAT"),
        (b"", "EMPTY_FILE"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_by_name(content: bytes, code: str, tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        parse_file(file)
    assert caught.value.code == code


def bomb(megabytes: int) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = b"0" * (1 << 20)
    return b"".join(
        [deflate.compress(b"user_id\n"), *(deflate.compress(piece) for _ in range(megabytes)), deflate.flush()]
    )


def test_a_bomb_is_stopped_by_its_ratio(tmp_path: Path) -> None:
    file = tmp_path / "f.csv.gz"
    file.write_bytes(bomb(100))
    with pytest.raises(UserError) as caught:
        parse_file(file, limits=ParseLimits(max_ratio=100))
    assert caught.value.code == "COMPRESSION_BOMB"
    assert caught.value.detail["limit_ratio"] == 100


def test_a_bomb_is_stopped_by_its_size(tmp_path: Path) -> None:
    file = tmp_path / "f.csv.zst"
    file.write_bytes(zstd(b"user_id\n" + b"0" * 50_000_000))
    with pytest.raises(UserError) as caught:
        parse_file(file, limits=ParseLimits(max_decoded_bytes=10_000_000))
    assert caught.value.code == "COMPRESSION_BOMB"


def test_uncompressed_file_size_is_limited(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_bytes(TEXT)
    with pytest.raises(UserError) as caught:
        parse_file(file, limits=ParseLimits(max_decoded_bytes=1_000))
    assert caught.value.code == "FILE_TOO_LARGE"
