"""Files that are small, or claim little, but would cost a lot: each must end with a named error, in bounded memory."""

import gzip
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from connectors.sources.csv_reader import BLOCK_BYTES, MAX_SPANS, RECORD_MAX_BYTES
from connectors.sources.limits import MIB, ParseLimits
from schemas.import_spec import ImportSpec
from tests.hostile import avro_bytes
from tests.hostile.reading import parse_measured

LIMITS: Final = ParseLimits(memory_bytes=1536 * MIB, cpu_s=40, cpu_s_per_mib=0)
INTERPRETER: Final = 200 * MIB
"""Python, NumPy, Arrow and compiled code, before a byte is read."""
STREAM_PEAK: Final = INTERPRETER + 2 * (2 * BLOCK_BYTES + RECORD_MAX_BYTES) + 2 * 4 * MAX_SPANS + 100 * MIB
"""Bound for a stream: two blocks and a record, twice (bytes and values), the field positions, and some batches."""
LINES_PEAK: Final = LIMITS.memory_bytes
"""Bound for readers that make Python or Arrow objects: the address space that the child may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bomb:
    """A file that must end with one of `ends`, codes of refusals or rejects; `peak` bounds the child's memory."""

    name: str
    file: str
    content: Callable[[], bytes]
    ends: frozenset[str]
    peak: int = STREAM_PEAK
    limits: ParseLimits = LIMITS

    def verdict(self, folder: Path) -> tuple[str, int]:
        """(what is wrong with its end, or an empty string; the child's peak in bytes)."""
        path = folder / self.file
        path.write_bytes(self.content())
        outcome, peak = parse_measured(path, ImportSpec(), self.limits)
        path.unlink()
        found = {outcome.refusal} if outcome.refusal else {str(code) for *_, code in outcome.rejects} or {"read"}
        if not found <= self.ends:
            return f"{self.name}: {sorted(found)}, not {sorted(self.ends)}", peak
        if peak > self.peak:
            return f"{self.name}: {peak // MIB} MiB, and {self.peak // MIB} are allowed", peak
        return "", peak


def _gzip(head: bytes, filling: bytes, mib: int) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as file:
        file.write(head)
        for _ in range(mib):
            file.write(filling * (MIB // len(filling)))
    return out.getvalue()


def _zstd(head: bytes, filling: bytes, mib: int) -> bytes:
    out = io.BytesIO()
    with zstandard.ZstdCompressor(level=3).stream_writer(out, closefd=False) as file:
        file.write(head)
        for _ in range(mib):
            file.write(filling * (MIB // len(filling)))
    return out.getvalue()


def _parquet(columns: dict[str, pa.Array], **settings: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **settings)
    return out.getvalue()


def _dictionary() -> bytes:
    """A text of 1 MiB that 200,000 rows share: 200 GB."""
    text = pa.array(["x" * MIB])
    return _parquet({"user_id": pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), text)})


def _many_groups() -> bytes:
    """A few kilobytes for 5 million rows."""
    out = io.BytesIO()
    table = pa.table({"user_id": pa.repeat(pa.scalar(7, pa.int32()), 1_000_000)})
    with pq.ParquetWriter(out, table.schema, compression="zstd") as writer:
        for _ in range(5):
            writer.write_table(table, row_group_size=1_000_000)
    return out.getvalue()


def _huge_value() -> bytes:
    """A text whose page gives its length as 2 GiB."""
    content = _parquet({"user_id": ["needle"] * 3}, use_dictionary=False, compression="none", write_statistics=False)
    length = struct.pack("<I", 6) + b"needle"
    return content.replace(length, struct.pack("<I", 2**31 - 1) + b"needle", 1)


def _many_columns(count: int) -> bytes:
    one = pa.array([1], pa.int8())
    return _parquet({"user_id": one, **{f"c{n}": one for n in range(count)}}, compression="none", use_dictionary=False)


def _nested(opening: bytes, closing: bytes) -> bytes:
    depth = 400_000 // len(opening)
    return b'{"user_id":"a","n":' + opening * depth + b"1" + closing * depth + b"}\n"


def _keys_twice() -> bytes:
    keys = b",".join(b'"k%d":1' % n for n in range(60_000))
    return b'{"user_id":"a",' + keys + b',"k59999":1}\n'


def _window() -> bytes:
    """A Zstandard frame that requests a window of 2 GiB (RFC 8878, Window_Descriptor: exponent 21)."""
    return b"\x28\xb5\x2f\xfd" + bytes([0x00, 21 << 3]) + b"\x01\0\0"


def _avro(codec: str) -> bytes:
    """Blocks of 100 MiB of empty ids; of snappy, which compresses 20 times, one that only claims to be larger."""
    ids = avro_bytes.record(("user_id", "string"))
    packed = avro_bytes.CODECS[codec](bytes(100 * MIB))
    if codec == "snappy":
        packed = b"\xff\xff\xff\xff\x07" + packed[4:]
    return avro_bytes.header(ids, codec.encode()) + avro_bytes.block(100 * MIB, packed) * 3


def _symbols() -> bytes:
    """A symbol of 1 MiB that 200,000 rows share: 200 GB."""
    ids = avro_bytes.record(("user_id", {"type": "enum", "name": "E", "symbols": ["x" * MIB]}))
    return avro_bytes.header(ids) + avro_bytes.block(200_000, bytes(200_000))


def _endless() -> bytes:
    """A list of 2^60 empty records in each of 1,000 rows."""
    empty = {"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}}
    row = avro_bytes.text(b"a") + avro_bytes.varint(2**60)
    return avro_bytes.header(avro_bytes.record(("user_id", "string"), ("c", empty))) + avro_bytes.block(
        1000, row * 1000
    )


BOMBS: Final = (
    Bomb(
        name="gzip of equal rows",
        file="a.csv",
        content=lambda: _gzip(b"user_id\n", b"abcdefg\n", 150),
        ends=frozenset({"COMPRESSION_BOMB"}),
    ),
    Bomb(
        name="gzip of one field",
        file="a.csv",
        content=lambda: _gzip(b'user_id\n"', b"x", 150),
        ends=frozenset({"COMPRESSION_BOMB"}),
    ),
    Bomb(
        name="zstd of equal rows",
        file="a.csv",
        content=lambda: _zstd(b"user_id\n", b"abcdefg\n", 150),
        ends=frozenset({"COMPRESSION_BOMB"}),
    ),
    Bomb(
        name="zstd of NULs",
        file="a.csv",
        content=lambda: _zstd(b"user_id\n", b"\0", 150),
        ends=frozenset({"COMPRESSION_BOMB"}),
    ),
    Bomb(
        name="zstd of JSON",
        file="a.jsonl",
        content=lambda: _zstd(b"", b'{"user_id":"a"}\n', 150),
        ends=frozenset({"COMPRESSION_BOMB"}),
        peak=LINES_PEAK,
    ),
    Bomb(name="zstd with a window of 2 GiB", file="a.csv", content=_window, ends=frozenset({"CORRUPT_FILE"})),
    Bomb(
        name="zstd frame to be skipped of 4 GiB",
        file="a.csv",
        content=lambda: b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + b"x" * 1000,
        ends=frozenset({"TRUNCATED_FILE", "CORRUPT_FILE"}),
    ),
    Bomb(
        name="20,000 empty members",
        file="a.csv",
        content=lambda: gzip.compress(b"", mtime=0) * 20_000,
        ends=frozenset({"EMPTY_FILE"}),
    ),
    Bomb(
        name="a million columns in CSV",
        file="a.csv",
        content=lambda: b"user_id" + b"," * 1_000_000 + b"\na\n",
        ends=frozenset({"TOO_MANY_COLUMNS"}),
    ),
    Bomb(
        name="header of 20 MB",
        file="a.csv",
        content=lambda: b"user_id," + b"x" * 20_000_000 + b"\na,1\n",
        ends=frozenset({"BAD_HEADER"}),
    ),
    Bomb(
        name="long name of a column in each of 9,000 rejects",
        file="a.csv",
        content=lambda: b"user_id," + b"x" * 900_000 + b"\n" + b'a,x"y\n' * 9_000,
        ends=frozenset({"bare_quote"}),
    ),
    Bomb(
        name="field of 50 MB",
        file="a.csv",
        content=lambda: b'user_id\n"' + b"x\n" * 25_000_000 + b'"\n',
        ends=frozenset({"row_too_large"}),
    ),
    Bomb(
        name="lines without a byte",
        file="a.csv",
        content=lambda: b"user_id\n" + b"\n" * 300_000,
        ends=frozenset({"blank_line"}),
    ),
    Bomb(
        name="JSON lines without a byte",
        file="a.jsonl",
        content=lambda: b"\n" * 300_000,
        ends=frozenset({"blank_line"}),
        peak=LINES_PEAK,
    ),
    *(
        Bomb(
            name=f"JSON nested by {opening.decode()}",
            file="a.jsonl",
            content=lambda opening=opening, closing=closing: _nested(opening, closing),  # type: ignore[misc]
            ends=frozenset({"too_deep"}),
            peak=LINES_PEAK,
        )
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"))
    ),
    Bomb(
        name="JSON number of a million digits",
        file="a.jsonl",
        content=lambda: b'{"user_id":"a","n":' + b"9" * 1_000_000 + b"}\n",
        ends=frozenset({"bad_json"}),
        peak=LINES_PEAK,
    ),
    Bomb(
        name="JSON object of 60,000 keys, the last one twice",
        file="a.jsonl",
        content=_keys_twice,
        ends=frozenset({"duplicate_key"}),
        peak=LINES_PEAK,
        limits=replace(LIMITS, cpu_s=20),
    ),
    Bomb(
        name="JSON line of 50 MB",
        file="a.jsonl",
        content=lambda: b'{"user_id":"' + b"x" * 50_000_000 + b'"}\n',
        ends=frozenset({"row_too_large"}),
        peak=LINES_PEAK,
    ),
    Bomb(
        name="Parquet dictionary",
        file="a.parquet",
        content=_dictionary,
        ends=frozenset({"PARSER_MEMORY"}),
        peak=LINES_PEAK,
    ),
    Bomb(
        name="Parquet of runs, 5 million rows",
        file="a.parquet",
        content=_many_groups,
        ends=frozenset({"read"}),
        peak=STREAM_PEAK,
    ),
    Bomb(
        name="Parquet text of 2 GiB by its length",
        file="a.parquet",
        content=_huge_value,
        ends=frozenset({"CORRUPT_FILE"}),
        peak=LINES_PEAK,
    ),
    *(
        Bomb(
            name=f"Avro, {codec} of equal rows",
            file="a.avro",
            content=lambda codec=codec: _avro(codec),  # type: ignore[misc]
            ends=frozenset({"COMPRESSION_BOMB", "FILE_TOO_LARGE"}),
            peak=LINES_PEAK,
        )
        for codec in ("deflate", "zstandard", "snappy")
    ),
    Bomb(
        name="Avro, a long symbol in each row",
        file="a.avro",
        content=_symbols,
        ends=frozenset({"COMPRESSION_BOMB"}),
        peak=LINES_PEAK,
    ),
    Bomb(
        name="Avro, lists without end",
        file="a.avro",
        content=_endless,
        ends=frozenset({"CORRUPT_FILE"}),
    ),
    Bomb(
        name="Parquet of 20,001 columns",
        file="a.parquet",
        content=lambda: _many_columns(20_000),
        ends=frozenset({"TOO_MANY_COLUMNS"}),
        peak=LINES_PEAK,
    ),
)
QUICK: Final = frozenset(
    {
        "gzip of one field", "zstd with a window of 2 GiB", "a million columns in CSV",
        "long name of a column in each of 9,000 rejects", "JSON nested by [", "Parquet dictionary",
        "Avro, a long symbol in each row",
        "JSON object of 60,000 keys, the last one twice",
    }
)  # fmt: skip
"""Bombs that `make test` throws; all of them: python -m tests.hostile."""
