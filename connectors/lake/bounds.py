"""Removes the smallest and largest user id of each file from manifests that an earlier release wrote.

No reader uses these bounds, and they would outlive the members that they name. A manifest is rewritten in place,
without bounds and with the same length, which the manifest lists state: a concurrent reader finds the old one or the
new one.
"""

import io
import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import fastavro

from connectors.storage.access import S3Access
from connectors.storage.listing import delete_objects
from schemas.layout import split_s3_uri

if TYPE_CHECKING:
    from pyiceberg.table import Table

COUNTS: Final = {"write.metadata.metrics.default": "counts"}
"""Table properties that make manifests count values without storing any."""
WITHOUT_BOUNDS: Final = {"muster.without-bounds": "true"}
"""Set on a table if none of its manifests has bounds."""
_log: Final = logging.getLogger(__name__)
_MAGIC: Final = b"Obj\x01"
_BOUNDS: Final = ("lower_bounds", "upper_bounds")
_PADDING: Final = ("p", "q")
"""Header keys that pad it to the required length."""


def strip_manifests(table: "Table", s3: S3Access) -> int:
    """Rewrite all manifests of a table that have bounds without them; returns how many had bounds. Idempotent."""
    uris = {m.manifest_path for snapshot in table.metadata.snapshots for m in snapshot.manifests(table.io)}
    client, found = s3.client(), 0
    for uri in sorted(uris):
        bucket, key = split_s3_uri(uri)
        content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        try:
            stripped = without_bounds(content)
        except ValueError as exc:
            _log.warning("%s keeps its bounds: %s", uri, exc)
            found += 1
            continue
        if stripped is None:
            continue
        found += 1
        # By a server-side copy: a client that dies in the middle of a write must not leave a partial or empty manifest.
        client.put_object(Bucket=bucket, Key=f"{key}.stripped", Body=stripped)
        client.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": f"{key}.stripped"})
        delete_objects(client, bucket, [f"{key}.stripped"])
    return found


def without_bounds(manifest: bytes) -> bytes | None:
    """The manifest without bounds, of the same length. None if it has no bounds."""
    reader = fastavro.reader(io.BytesIO(manifest))
    entries: list[Any] = list(reader)
    if not any(entry["data_file"][name] for entry in entries for name in _BOUNDS):
        return None
    header = {name: value for name, value in reader.metadata.items() if name not in _PADDING} | {
        "avro.codec": "deflate"
    }
    for dropped in (_BOUNDS, (*_BOUNDS, "column_sizes")):  # sizes are for planners, and make room if bounds do not
        for entry in entries:
            entry["data_file"] |= dict.fromkeys(dropped)
        block = _block(json.loads(header["avro.schema"]), entries)
        for padded in _padded(header, len(manifest) - len(_file(header, block))):
            if len(rewritten := _file(padded, block)) == len(manifest):
                return rewritten
    raise ValueError(
        f"a manifest of {len(manifest)} bytes without bounds cannot be written in the same number of bytes"
    )


def _padded(header: Mapping[str, str], room: int) -> Iterator[Mapping[str, str]]:
    """Headers that are longer by `room`, or by a byte or two more or less: one of them fits exactly."""
    if room == 0:
        yield header
    for second in ({}, {_PADDING[1]: ""}):
        for length in range(max(0, room - 12), max(0, room - 2)):
            yield {**header, _PADDING[0]: " " * length, **second}


def _file(header: Mapping[str, str], block: bytes) -> bytes:
    """An Avro object container file: https://avro.apache.org/docs/1.11.1/specification/#object-container-files."""
    sync = zlib.crc32(block).to_bytes(4, "little") * 4
    fields = b"".join(_bytes(name) + _bytes(value) for name, value in header.items())
    return _MAGIC + _long(len(header)) + fields + _long(0) + sync + block + sync


def _block(schema: Any, entries: list[Any]) -> bytes:
    parsed, out = fastavro.parse_schema(schema), io.BytesIO()
    for entry in entries:
        fastavro.schemaless_writer(out, parsed, entry)
    compress = zlib.compressobj(level=9, wbits=-15)
    data = compress.compress(out.getvalue()) + compress.flush()
    return _long(len(entries)) + _long(len(data)) + data


def _bytes(text: str) -> bytes:
    return _long(len(encoded := text.encode())) + encoded


def _long(value: int) -> bytes:
    """A non-negative number, zigzag, in groups of seven bits."""
    value <<= 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
