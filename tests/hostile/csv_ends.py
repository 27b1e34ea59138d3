"""Files that end too early or too late, plain and compressed; they go through the child, which decompresses them."""

import gzip
import zlib
from typing import Final

import zstandard

from tests.hostile.damage import Damage, Fault, file_of, refused
from tests.hostile.twin import Twin

EARLY: Final = ("TRUNCATED_FILE", "CORRUPT_FILE")


def zstd(content: bytes) -> bytes:
    """Compress to a frame with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def flipped(content: bytes, at: int) -> bytes:
    """Flip one bit."""
    damaged = bytearray(content)
    damaged[at] ^= 1
    return bytes(damaged)


def _cut_in_character(twin: Twin, _: int) -> Damage:
    records = twin.records()
    last = len(records) - 1
    cut = b"x," * 6 + "日".encode()[:2]
    return Damage(
        content=file_of(twin, records[:-1]) + cut, touched=frozenset({last}), codes=frozenset({"invalid_utf8"})
    )


def _cut_in_row(twin: Twin, _: int) -> Damage:
    """Cut before the last column begins."""
    records = twin.records()
    last = len(records) - 1
    return Damage(
        content=file_of(twin, records[:-1]) + records[last][: records[last].index(b",") + 1],
        touched=frozenset({last}),
        codes=frozenset({"field_count"}),
    )


def _cut_in_quotes(twin: Twin, _: int) -> Damage:
    return refused(file_of(twin, twin.records()[:-1]) + b'"us', "UNCLOSED_QUOTE")


def _cut_in_last_field(twin: Twin, _: int) -> Damage:
    """A sound file with another last value: the damage cannot be detected."""
    return Damage(content=twin.content().removesuffix(twin.line_end)[:-1])


def _cut_between_rows(twin: Twin, _: int) -> Damage:
    return Damage(content=file_of(twin, twin.records()[: len(twin.rows) // 2]))


def _members(twin: Twin, pack: object) -> bytes:
    """Two members, split in the middle of a row."""
    content = twin.content()
    half = len(content) // 2 + 3
    assert callable(pack)
    return bytes(pack(content[:half]) + pack(content[half:]))


def _whole(name: str, damage: object, *codes: str) -> Fault:
    def put(twin: Twin, _: int) -> Damage:
        assert callable(damage)
        content: bytes = damage(twin)
        return refused(content, *codes) if codes else Damage(content=content)

    return Fault(name=name, damage=put, anywhere=False)


def _packed(word: str, pack: object, trailer: int) -> tuple[Fault, ...]:
    assert callable(pack)
    return (
        _whole(f"{word}: whole", lambda t: pack(t.content())),
        _whole(f"{word}: two members", lambda t: _members(t, pack)),
        _whole(f"{word}: an empty member between two", lambda t: pack(t.content()) + pack(b"")),
        _whole(f"{word}: last byte missing", lambda t: pack(t.content())[:-1], *EARLY),
        _whole(f"{word}: half", lambda t: pack(t.content())[: len(pack(t.content())) // 2], *EARLY),
        _whole(f"{word}: trailer missing", lambda t: pack(t.content())[:-trailer], *EARLY),
        _whole(f"{word}: second member cut", lambda t: _members(t, pack)[: -trailer - 3], *EARLY),
        _whole(f"{word}: only a header", lambda t: pack(t.content())[:9], *EARLY),
        _whole(f"{word}: garbage behind", lambda t: pack(t.content()) + b"garbage", "CORRUPT_FILE"),
        _whole(f"{word}: text behind", lambda t: pack(t.content()) + t.records()[0], "CORRUPT_FILE"),
        _whole(f"{word}: checksum", lambda t: flipped(pack(t.content()), -trailer), "CORRUPT_FILE"),
        *(
            _whole(f"{word}: bit at {part}/8", lambda t, part=part: _flip(pack(t.content()), part), *EARLY)
            for part in range(2, 8)
        ),
        _whole(f"{word}: twice", lambda t: pack(pack(t.content())), "NOT_UTF8_HEADER", "BAD_HEADER", "MISSING_COLUMN"),
    )


def _flip(content: bytes, part: int) -> bytes:
    return flipped(content, len(content) * part // 8)


FAULTS: Final = (
    Fault(name="cut in a character", damage=_cut_in_character, anywhere=False),
    Fault(name="cut in a row", damage=_cut_in_row, anywhere=False),
    Fault(name="cut in quotes", damage=_cut_in_quotes, anywhere=False),
    Fault(name="cut in the last field", damage=_cut_in_last_field, anywhere=False, detectable=False),
    Fault(name="cut between two rows", damage=_cut_between_rows, anywhere=False, detectable=False),
)
PACKED: Final = (
    *_packed("gzip", lambda content: gzip.compress(content, mtime=0), 8),
    *_packed("zstd", zstd, 4),
    _whole("gzip: NULs behind", lambda t: gzip.compress(t.content(), mtime=0) + b"\0" * 512),
    _whole("gzip: the length", lambda t: flipped(gzip.compress(t.content(), mtime=0), -1), "CORRUPT_FILE"),
    _whole("gzip: reserved flags", lambda t: flipped(b"\x1f\x8b\x08\xe1" + t.content(), 3), *EARLY),
    _whole("gzip: another method", lambda t: b"\x1f\x8b\x07" + gzip.compress(t.content(), mtime=0)[3:], *EARLY),
    _whole(
        "zlib without gzip", lambda t: zlib.compress(t.content()), "NOT_UTF8_HEADER", "BAD_HEADER", "MISSING_COLUMN"
    ),
    _whole("zstd behind gzip", lambda t: gzip.compress(t.content(), mtime=0) + zstd(t.content()), "CORRUPT_FILE"),
    _whole("gzip behind zstd", lambda t: zstd(t.content()) + gzip.compress(t.content(), mtime=0), "CORRUPT_FILE"),
    _whole("zstd: frames to be skipped", lambda t: b"\x5f\x2a\x4d\x18\x03\0\0\0abc" + zstd(t.content())),
    _whole("zstd: garbage of a magic", lambda t: zstd(t.content()) + b"\x28\xb5\x2f\xfd", *EARLY),
)
