"""Avro single-object encoding of the messages: C3 01, the CRC-64-AVRO fingerprint of the writer's schema, the body.

https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding. The fingerprint names type and version, so a
topic can be read without a registry. A message written with an older schema, if `schemas/avro/history` has it, is
resolved to the current one by Avro's rules (added fields have defaults).
"""

import io
import json
from collections.abc import Mapping
from dataclasses import fields
from importlib.resources import files
from typing import Any, Final, cast, get_args

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.messages import Message

MARKER: Final = b"\xc3\x01"
HEADER_BYTES: Final = len(MARKER) + 8
BATCH_MAX_BYTES: Final = 32 * 1024 * 1024
"""Maximum size of a decompressed batch: some thirty times Kafka's default limit on a compressed one."""
OVERSIZE_MARKER: Final = MARKER + b"TOO FAR!"
"""Prefix of the value that replaces the records of a batch above that limit (`streams.decompression`)."""
_TYPES: Final[Mapping[str, type[Message]]] = {t.__name__: t for t in get_args(Message)}


class UndecodableError(Exception):
    """The bytes are not a message of Muster. The text gives the reason; the bytes belong in the dead letters."""


class Codec:
    """Encodes and decodes messages. `history`: older writer schemas (parsed .avsc JSON) that are still readable."""

    def __init__(self, current: Mapping[str, Mapping[str, Any]], history: tuple[Mapping[str, Any], ...] = ()) -> None:
        self._writers = {name: (_header(schema), parse_schema(dict(schema))) for name, schema in current.items()}
        self._readers = {
            _header(schema): (str(schema["name"]), parse_schema(dict(schema)))
            for schema in (*history, *current.values())
        }

    def encode(self, message: Message) -> bytes:
        """Encode a message."""
        header, schema = self._writers[type(message).__name__]
        out = io.BytesIO()
        out.write(header)
        record = {f.name: _to_avro(getattr(message, f.name)) for f in fields(message)}
        schemaless_writer(out, schema, record)
        return out.getvalue()

    def headers(self, message_type: type[Message]) -> tuple[bytes, ...]:
        """The first bytes of messages of a type, by its current schema and by older ones with the same fields.

        The type of a field may have become wider: a union has more types, after those that it had.
        """
        own = [field.name for field in fields(message_type)]
        return tuple(
            header
            for header, (name, schema) in self._readers.items()
            if name == message_type.__name__ and [f["name"] for f in cast(dict[str, Any], schema)["fields"]] == own
        )

    def decode(self, data: bytes | None) -> Message:
        """Decode a message. Raises `UndecodableError`."""
        if data is None or data[:2] != MARKER:
            raise UndecodableError("not Avro single-object encoding (the first two bytes are not C3 01)")
        known = self._readers.get(bytes(data[:HEADER_BYTES]))
        if known is None:
            if data[:HEADER_BYTES] == OVERSIZE_MARKER:
                what = f"it is a batch of records that decompresses to more than {BATCH_MAX_BYTES} bytes"
                raise UndecodableError(f"{what}; none of it was read")
            raise UndecodableError(f"unknown schema fingerprint {data[2:HEADER_BYTES].hex()}")
        name, writer = known
        body = io.BytesIO(data)
        body.seek(HEADER_BYTES)
        try:
            record = schemaless_reader(body, writer, self._writers[name][1])
            if body.read(1):
                raise UndecodableError(f"bytes after the end of the {name}")
            return _from_avro(_TYPES[name], record)
        except UndecodableError:
            raise
        except EOFError as exc:  # whose text may have the address of an object
            raise UndecodableError(f"broken {name}: its bytes end too early") from exc
        except Exception as exc:  # fastavro raises any error that broken bytes cause
            raise UndecodableError(f"broken {name}: {type(exc).__name__}: {exc}"[:500]) from exc


def _header(schema: Mapping[str, Any]) -> bytes:
    # fastavro returns the 64-bit fingerprint as hex of its little-endian bytes, which is the wire order.
    return MARKER + bytes.fromhex(fingerprint(to_parsing_canonical_form(dict(schema)), "CRC-64-AVRO"))


def _to_avro(value: Any) -> Any:
    match value:
        case Digest():
            return str(value)
        case RowSchema():
            return value.as_record()
        case _:
            return value


def _from_avro(message_type: type[Message], record: Any) -> Message:
    values: dict[str, Any] = {}
    for field in fields(message_type):
        value = record[field.name]
        if field.type is Digest:
            value = Digest.parse(value)
        elif field.type is RowSchema:
            value = RowSchema.from_record(value)
        elif isinstance(value, list):
            value = tuple(value)
        values[field.name] = value
    return message_type(**values)


def load_schemas(folder: str = "avro") -> dict[str, dict[str, Any]]:
    """Parsed .avsc files in a folder of this package, by file name without suffix."""
    root = files("schemas").joinpath(folder)
    if not root.is_dir():
        return {}
    return {
        entry.name.removesuffix(".avsc"): json.loads(entry.read_text(encoding="utf-8"))
        for entry in sorted(root.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".avsc")
    }


CODEC: Final = Codec(load_schemas(), tuple(load_schemas("avro/history").values()))
"""The codec for the current schemas and all older ones that may still be in a topic."""
