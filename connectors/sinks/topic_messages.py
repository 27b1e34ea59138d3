"""The messages of an export to a topic: chunks in Avro, or JSON with a record for each user.

Both have markers around the rows. In JSON a record has the user's id as its key, a row as its value, and no value for a
user whom a delta removes; markers have no key.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from connectors.publishing.cutting import Piece
from connectors.sinks.text_rows import jsonl_rows
from connectors.sinks.topic_export import ExportAttempt, TopicExport
from schemas.codec import CODEC
from schemas.columns import USER_ID
from schemas.export_events import ExportMarker, marker
from schemas.feed_events import CONTENT_TYPE
from schemas.log_ids import Headers
from schemas.manifest import Change
from schemas.messages import ExportChunk
from schemas.rows import decode_rows

EXPORT_HEADER: Final = "muster-export"
"""The export that a record belongs to: several may share a topic."""
Messages = Iterable[tuple[bytes | None, bytes | None]]
"""Keys and values."""


class TopicMessages(Protocol):
    """For one step. Pieces of a partition come in order, the added ones of a delta before the removed ones."""

    def rows(self, group: int, change: Change | None, piece: Piece) -> Messages:
        """The messages of a piece; the same ones whenever it comes."""
        ...


def messages_of(export: TopicExport) -> TopicMessages:
    """The messages of an export."""
    return _Records(export) if export.json else _Chunks(export)


def marker_of(export: ExportAttempt | TopicExport, message: ExportMarker) -> bytes:
    """The value of a marker."""
    return marker(message) if export.json else CODEC.encode(message)


def headers_of(export: ExportAttempt | TopicExport, *, markers: bool) -> Headers:
    """The headers of markers, or of all other messages."""
    if not export.json:
        return ()
    content = CONTENT_TYPE if markers else "application/json"
    return (("content-type", content.encode()), (EXPORT_HEADER, export.export_id.encode()))


class _Chunks:
    def __init__(self, export: TopicExport) -> None:
        self._export = export

    def rows(self, group: int, change: Change | None, piece: Piece) -> Messages:
        chunk = ExportChunk(
            export_id=self._export.export_id,
            attempt=self._export.attempt,
            partition=piece.partition,
            group=group,
            seq=piece.seq,
            change=change,
            count=piece.digest.count,
            digest=piece.digest,
            rows=piece.rows,
        )
        return [(None, CODEC.encode(chunk))]


class _Records:
    """Keeps the ids of a group's added rows: a member with other values is both added and removed, and stays."""

    def __init__(self, export: TopicExport) -> None:
        self._schema = export.columns
        self._added: list[list[pa.StringArray]] = [[] for _ in range(export.partitions)]

    def rows(self, group: int, change: Change | None, piece: Piece) -> Messages:
        del group
        rows = decode_rows(piece.rows)
        ids = rows.column(USER_ID)
        if change == "removed":
            return self._tombstones(ids, self._added[piece.partition])
        if change == "added":
            self._added[piece.partition].append(ids)
        lines = jsonl_rows(rows, self._schema).to_pybytes().split(b"\n")
        return zip((user.encode() for user in ids.to_pylist()), lines[:-1], strict=True)

    def _tombstones(self, ids: pa.StringArray, added: list[pa.StringArray]) -> Iterator[tuple[bytes, None]]:
        first, last = ids[0].as_py(), ids[-1].as_py()  # both sides are sorted by user id
        near = [some for some in added if some[-1].as_py() >= first and some[0].as_py() <= last]
        if near:
            ids = ids.filter(pc.invert(pc.is_in(ids, value_set=pa.concat_arrays(near))))
        return ((user.encode(), None) for user in ids.to_pylist())
