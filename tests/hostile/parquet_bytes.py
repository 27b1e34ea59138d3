"""The bytes of a Parquet file, to be patched: its footer is Thrift in the compact protocol."""

import io
import re
from itertools import combinations
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

MAGIC: Final = b"PAR1"


def parquet(columns: dict[str, object], **settings: object) -> bytes:
    """A file of these columns, plain unless it is said otherwise."""
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **{"compression": "none", "use_dictionary": False} | settings)
    return out.getvalue()


def footer_of(content: bytes) -> bytes:
    """The metadata, without their length and the magic behind them."""
    return content[-8 - int.from_bytes(content[-8:-4], "little") : -8]


def with_footer(content: bytes, footer: bytes) -> bytes:
    """The file with other metadata."""
    return content[: -8 - len(footer_of(content))] + footer + len(footer).to_bytes(4, "little") + MAGIC


def varint(value: int) -> bytes:
    """A whole number of the compact protocol: zigzag, seven bits a byte."""
    value = value << 1 ^ value >> 63
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def patched_counts(*, rows: int, said: int) -> bytes:
    """A file whose footer and row group say `said` rows, while its only column chunk says `rows` values."""
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
