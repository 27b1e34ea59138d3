"""Compile every parsing kernel once to fill numba's cache on disk: `python -m connectors.sources.warm`.

With an empty cache, a parser would compile for half a minute, and so would the next one if the cache cannot be written.
Parquet uses the same kernels.
"""

import io
from typing import Final

from connectors.sources.avro_reader import AvroReader
from connectors.sources.compression import CountedSource
from connectors.sources.csv_reader import CsvReader
from connectors.sources.jsonl_reader import JsonLinesReader
from connectors.sources.ranges import FileRange
from connectors.sources.rejects import RejectBatch
from connectors.sources.transcoding import load_codecs
from schemas.chunk_rule import ChunkCounter, ChunkCounts
from schemas.columns import Column
from schemas.import_spec import ImportSpec
from schemas.row_digest import PartitionDigests

_BLOCK_BYTES: Final = 256
_RECORD_BYTES: Final = 128
_SPEC: Final = ImportSpec(
    columns=(
        Column(name="n", type="long"),
        Column(name="x", type="double"),
        Column(name="d", type="date"),
        Column(name="t", type="timestamp"),
        Column(name="b", type="boolean"),
        Column(name="s"),
    ),
    max_reject_share=1.0,
)
_AVRO_SPEC: Final = ImportSpec(columns=(Column(name="s"), Column(name="u")))
_CSV: Final = b"\n".join(
    (
        b"user_id,n,x,d,t,b,s",
        b"a,1,0.5,2026-01-01,2026-01-01T00:00:00Z,true,x",
        b'b,2,1e3,2026-01-02,2026-01-02 01:02:03.5+01:00,false,"y,""z"""',
        "c,3,,,,,é".encode(),
        b"d,4,,,,,\xff",
        b",5,,,,,",
        b"e,x,x,x,x,x,x",
        b"user_id,n,x,d,t,b,s",
        b"f,6,,,,," + b"long" * 200,  # more than a record may have, across several blocks
        b"g,7,,,,,",
        b"",
    )
)
_PART: Final = FileRange(begin=_CSV.index(b"a,1"), end=len(_CSV), size=len(_CSV), exact=False, bounded=True)
_JSON: Final = b"""
{"user_id": "\\u0061", "n": 1, "x": 0.5, "d": "2026-01-01", "t": "2026-01-01T00:00:00Z", "b": true, "s": "x"}
{"user_id": "b", "n": 2, "x": 0.12345678901234567}
"""


def warm() -> None:
    """Call every kernel, in this thread alone. Takes half a minute if nothing is cached yet, 0.2 s otherwise."""
    digests = PartitionDigests(_SPEC.row_schema, partitions=1)
    chunks = ChunkCounter(_SPEC.row_schema, ChunkCounts.none(1))
    csv, json_lines = CountedSource(io.BytesIO(_CSV)), CountedSource(io.BytesIO(_JSON))
    load_codecs()
    for reader in (
        CsvReader(csv, _SPEC, block_bytes=_BLOCK_BYTES, record_limit=_RECORD_BYTES),
        CsvReader(io.BytesIO(_CSV[: _PART.head] + _CSV[_PART.first :]), _SPEC, part=_PART),
        JsonLinesReader(json_lines, _SPEC),
        AvroReader(io.BytesIO(_avro()), _AVRO_SPEC, max_decoded_bytes=1 << 20, max_ratio=1.0),
    ):
        for found in reader:
            if not isinstance(found, RejectBatch) and not isinstance(reader, AvroReader):
                digests.add(found)
                chunks.add(found)


def _avro() -> bytes:
    """A file whose one row has every kind of value that has a kernel, and one that is read over."""

    def text(content: bytes) -> bytes:
        return bytes([2 * len(content) & 127 | 128, 2 * len(content) >> 7]) + content

    schema = b"".join(
        (
            b'{"type":"record","name":"U","fields":[{"name":"user_id","type":"string"},',
            b'{"name":"s","type":{"type":"bytes","logicalType":"decimal","precision":4}},{"name":"over","type":"int"},',
            b'{"name":"u","type":{"type":"fixed","name":"F","size":16,"logicalType":"uuid"}}]}',
        )
    )
    row = text(b"a") + text(b"\x01") + b"\x02" + bytes(16)
    header = b"Obj\x01\x02" + text(b"avro.schema") + text(schema) + b"\0" + bytes(16)
    return header + b"\x02" + bytes([2 * len(row)]) + row + bytes(16)


if __name__ == "__main__":
    warm()
