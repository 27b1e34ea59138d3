"""docs/file-formats.md again for Avro, value by value in plain Python: what the blocks of a file mean.

Uses nothing of the product. The schema is known, and so is the header: only what comes after it is judged.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from tests.hostile.naive_csv import ID_CHARACTERS, Reading, Refusal, Wanted
from tests.hostile.naive_values import EPOCH_DAY

BLOCK_LIMIT: Final = 256 * 1024 * 1024
DEPTH_LIMIT: Final = 256
DAYS: Final = (date.min.toordinal() - EPOCH_DAY, date.max.toordinal() - EPOCH_DAY)
DAY_US: Final = 86_400_000_000
MARKER_BYTES: Final = 16
Schema = Any


class _Bytes:
    """Bytes that are read from the beginning; `short`: what the file is if they end too early."""

    def __init__(self, content: bytes, short: str) -> None:
        self.content = content
        self.short = short
        self.at = 0

    def left(self) -> int:
        return len(self.content) - self.at

    def take(self, size: int) -> bytes:
        if size < 0:
            raise Refusal("CORRUPT_FILE")
        if size > self.left():
            raise Refusal(self.short)
        self.at += size
        return self.content[self.at - size : self.at]

    def number(self) -> int:
        """A zigzag number of at most 64 bits."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            if shift == 63 and byte > 1:
                raise Refusal("CORRUPT_FILE")
            value |= (byte & 127) << shift
            if byte < 128:
                return value >> 1 if value % 2 == 0 else -(value >> 1) - 1
            shift += 7


def read(blocks: bytes, schema: Mapping[str, Any], marker: bytes, wanted: Wanted) -> Reading:
    """What uncompressed blocks mean, which follow the header of a file. Raises `Refusal`."""
    file, found = _Bytes(blocks, "TRUNCATED_FILE"), []
    while file.left():
        count, size = file.number(), file.number()
        if count < 0 or size < 0:
            raise Refusal("CORRUPT_FILE")
        if size > BLOCK_LIMIT:
            raise Refusal("FILE_TOO_LARGE")
        content = file.take(size)
        if file.take(MARKER_BYTES) != marker or count > size:
            raise Refusal("CORRUPT_FILE")
        found.append((count, content))
    reading, ordinal = Reading(), 0
    for count, content in found:
        block = _Bytes(content, "CORRUPT_FILE")
        for _ in range(count):
            fields = {f["name"]: _value(block, f["type"], {}, 0) for f in schema["fields"]}
            row = _judged([fields[name] for name, _ in wanted], wanted)
            if isinstance(row, str):
                reading.rejects.append((ordinal, None, None, row))  # type: ignore[arg-type]  # Avro has no lines
            else:
                reading.rows.append((ordinal, *row))
            ordinal += 1
        if block.left():
            raise Refusal("CORRUPT_FILE")
    return reading


def _value(block: _Bytes, schema: Schema, names: dict[str, Schema], depth: int) -> Any:  # noqa: PLR0911  # by type
    """The next value: text stays bytes, nested values become None."""
    if depth >= DEPTH_LIMIT:
        raise Refusal("CORRUPT_FILE")
    if isinstance(schema, list):
        branch = block.number()
        if not 0 <= branch < len(schema):
            raise Refusal("CORRUPT_FILE")
        return _value(block, schema[branch], names, depth)
    kind = schema if isinstance(schema, str) else schema["type"]
    match kind:
        case "null":
            return None
        case "int" | "long":
            number, bits = block.number(), 31 if kind == "int" else 63
            if not -(2**bits) <= number < 2**bits:
                raise Refusal("CORRUPT_FILE")
            return number
        case "double":
            return struct.unpack("<d", block.take(8))[0]
        case "string" | "bytes":
            return block.take(block.number())
        case "record":
            names[schema["name"]] = schema
            for field in schema["fields"]:
                _value(block, field["type"], names, depth + 1)
            return None
        case "array" | "map":
            _items(block, schema, names, depth)
            return None
        case _:
            return _value(block, names[kind], names, depth)


def _items(block: _Bytes, schema: Mapping[str, Any], names: dict[str, Schema], depth: int) -> None:
    """Read over an array or a map; the items of a block that says its size are not looked at."""
    while count := block.number():
        if count < 0:
            block.take(block.number())
            continue
        for _ in range(count):
            if schema["type"] == "map":
                block.take(block.number())
            _value(block, schema["values" if schema["type"] == "map" else "items"], names, depth + 1)


def _judged(  # noqa: PLR0911  # the order of the rules
    values: Sequence[Any], wanted: Wanted
) -> tuple[Any, ...] | str:
    """Values of an accepted row, or its reject code: the first of UTF-8, NUL, id, values."""
    try:
        texts = [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError:
        return "invalid_utf8"
    if any(isinstance(text, str) and "\0" in text for text in texts):
        return "nul_byte"
    id_ = texts[0]
    if not id_:
        return "id_empty"
    if len(id_) > ID_CHARACTERS:
        return "id_too_long"
    if id_.isspace():
        return "id_blank"
    row: list[Any] = [id_]
    for value, (_, kind) in zip(texts[1:], wanted[1:], strict=True):
        if isinstance(value, (int, float)) and not _meant(value, kind):
            return "bad_value"
        row.append(value.hex() if isinstance(value, float) else value)
    return tuple(row)


def _meant(value: float, kind: str) -> bool:
    """Whether a value is one of the type in Muster, too."""
    match kind:
        case "double":
            return math.isfinite(value)
        case "date":
            return DAYS[0] <= value <= DAYS[1]
        case "timestamp":
            return DAYS[0] * DAY_US <= value < (DAYS[1] + 1) * DAY_US
        case _:
            return True
