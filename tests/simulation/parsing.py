"""A customer's file as the parser would return it: read piece by piece from the pinned object, one id per line."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from connectors.storage.pinned import PinnedBody, SourceObject
from schemas.arrow import arrow_schema
from schemas.columns import RowSchema
from tests.fakes.import_log import GivenSummary
from tests.simulation.stores import S3Client

PIECE_BYTES = 16
SCHEMA = arrow_schema(RowSchema(), ordinal=True)


class SimulatedFile:
    """`ParsedRows` over the real reader of pinned objects."""

    file = 0

    def __init__(self, source: SourceObject, client: S3Client) -> None:
        self._source = source
        boto: Any = client
        self._body = PinnedBody(boto, source)
        self.summary = GivenSummary(rows=0, accepted=0)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        size, rows, rest = self._source.size, 0, b""
        for start in range(0, size, PIECE_BYTES):
            length = min(PIECE_BYTES, size - start)
            piece = bytearray()
            self._body.close()  # every piece is a separate request, as after a broken connection
            self._body.read_into(piece, start, length)
            *lines, rest = (rest + bytes(piece)).split(b"\n")
            if start + length >= size and rest:
                lines, rest = [*lines, rest], b""
            if lines:
                users = [line.decode() for line in lines]
                yield pa.RecordBatch.from_arrays(
                    [pa.array(range(rows, rows + len(users)), pa.int64()), pa.array(users, pa.string())], schema=SCHEMA
                )
                rows += len(users)
        self.summary = GivenSummary(rows=rows, accepted=rows, source_bytes=size, decoded_bytes=size)
