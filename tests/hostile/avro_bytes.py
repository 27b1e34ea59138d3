"""Avro object containers, written byte by byte: fastavro encodes the rows, and the rest may lie."""

import io
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import fastavro
import pyarrow as pa
import zstandard

MAGIC: Final = b"Obj\x01"
SYNC: Final = bytes(range(16))
Schema = Mapping[str, Any]


def record(*fields: tuple[str, Any]) -> dict[str, Any]:
    """A schema of these fields."""
    return {"type": "record", "name": "User", "fields": [{"name": name, "type": type_} for name, type_ in fields]}


def varint(number: int) -> bytes:
    """A zigzag varint; of numbers beyond 64 bits too."""
    n = number * 2 if number >= 0 else -number * 2 - 1
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def text(content: bytes) -> bytes:
    """A string or bytes."""
    return varint(len(content)) + content


def rows_of(schema: Schema, rows: Sequence[Any]) -> bytes:
    """The encoded rows."""
    out, parsed = io.BytesIO(), fastavro.parse_schema(dict(schema))
    for row in rows:
        fastavro.schemaless_writer(out, parsed, row)
    return out.getvalue()


def _snappy(content: bytes) -> bytes:
    return bytes(pa.Codec("snappy").compress(content, asbytes=True)) + zlib.crc32(content).to_bytes(4, "big")


def _deflate(content: bytes) -> bytes:
    return zlib.compress(content)[2:-4]


CODECS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "null": lambda content: content,
    "deflate": _deflate,
    "zstandard": lambda content: zstandard.ZstdCompressor(level=1).compress(content),
    "snappy": _snappy,
}


def header(schema: Any, codec: bytes | None = b"null", more: Mapping[bytes, bytes] | None = None) -> bytes:
    """The header, with the schema as JSON, or as these bytes."""
    shown = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
    metadata = {b"avro.schema": shown, **({} if codec is None else {b"avro.codec": codec}), **(more or {})}
    entries = b"".join(text(key) + text(value) for key, value in metadata.items())
    return MAGIC + varint(len(metadata)) + entries + b"\0" + SYNC


def block(count: int, content: bytes, sync: bytes = SYNC) -> bytes:
    """A block of rows that are encoded and compressed already."""
    return varint(count) + varint(len(content)) + content + sync


def avro(schema: Schema, rows: Sequence[Any], codec: str = "null", per_block: int = 100) -> bytes:
    """A sound file."""
    out = header(schema, codec.encode())
    for start in range(0, len(rows), per_block):
        some = rows[start : start + per_block]
        out += block(len(some), CODECS[codec](rows_of(schema, some)))
    return out
