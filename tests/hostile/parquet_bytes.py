"""The bytes of a Parquet file, to be patched. Its footer is Thrift in the compact protocol."""

import io
import re
from itertools import combinations
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

MAGIC: Final = b"PAR1"


def parquet(columns: dict[str, object], **settings: object) -> bytes:
    """A file with these columns, plain by default."""
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **{"compression": "none", "use_dictionary": False} | settings)
    return out.getvalue()


def footer_of(content: bytes) -> bytes:
    """The metadata, without the length and the magic after it."""
    return content[-8 - int.from_bytes(content[-8:-4], "little") : -8]


def with_footer(content: bytes, footer: bytes) -> bytes:
    """The file with other metadata."""
    return content[: -8 - len(footer_of(content))] + footer + len(footer).to_bytes(4, "little") + MAGIC


def varint(value: int) -> bytes:
    """An integer in the compact protocol: zigzag, seven bits a byte."""
    value = value << 1 ^ value >> 63
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def patched_counts(*, rows: int, said: int) -> bytes:
    """A file whose footer and row group claim `said` rows, while its only column chunk has `rows` values."""
    content = parquet({"user_id": [f"u{n}" for n in range(rows)]}, write_statistics=False, store_schema=False)
    footer = footer_of(content)
    places = [found.start() for found in re.finditer(re.escape(varint(rows)), footer)]
    for pair in combinations(places, 2):
        lying = bytearray(footer)
        for at in pair:
            lying[at : at + len(varint(said))] = varint(said)
        metadata = pq.read_metadata(io.BytesIO(with_footer(content, bytes(lying))))
        if metadata.num_rows == metadata.row_group(0).num_rows == said:
            return with_footer(content, bytes(lying))
    raise AssertionError("the counts are not where they were looked for")


COMPRESSED_PAGE_SIZE: Final = 3
"""Field of a PageHeader (parquet.thrift)."""


def page_data(content: bytes) -> list[tuple[int, int]]:
    """(first byte, end) of the data of each page, without the headers, which no checksum covers."""
    places = []
    metadata = pq.read_metadata(io.BytesIO(content))
    for group in range(metadata.num_row_groups):
        for k in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(k)
            at = chunk.dictionary_page_offset or chunk.data_page_offset
            end = at + chunk.total_compressed_size
            while at < end:
                header, start = _struct(content, at)
                size = header[COMPRESSED_PAGE_SIZE]
                assert isinstance(size, int)
                places.append((start, start + size))
                at = start + size
    return [(start, end) for start, end in places if start < end]


def _unsigned(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (content[at] & 0x7F) << shift
        shift += 7
        at += 1
        if content[at - 1] < 0x80:
            return value, at


def _struct(content: bytes, at: int) -> tuple[dict[int, object], int]:
    """(fields by number, end) of a struct in the compact protocol; only the types used in page headers."""
    fields: dict[int, object] = {}
    number = 0
    while content[at]:
        kind, step = content[at] & 0x0F, content[at] >> 4
        at += 1
        if not step:
            raise ValueError("fields of page headers are close to each other")
        number += step
        if kind in (1, 2):  # true, false
            fields[number] = kind == 1
        elif kind in (4, 5, 6):  # whole numbers
            value, at = _unsigned(content, at)
            fields[number] = value >> 1 ^ -(value & 1)
        elif kind == 8:  # bytes
            size, at = _unsigned(content, at)
            fields[number] = content[at : at + size]
            at += size
        elif kind == 12:  # struct
            fields[number], at = _struct(content, at)
        else:
            raise ValueError(f"type {kind} is in no page header")
    return fields, at + 1
