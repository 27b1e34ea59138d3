"""Snapshots of segments: the members at one log position and one instant, written on request."""

import io
from collections import deque
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import USER_ID, RowSchema
from schemas.digest import Digest
from schemas.ids import JobId
from schemas.row_digest import digest_rows
from schemas.segment_messages import CutRequested
from segmentation.evaluation.columns import NEVER
from segmentation.partitions.log_position import LogPosition
from segmentation.partitions.partition import Emission, PartitionSegments

REMEMBERED: Final = 1_000
"""Snapshot requests that an owner remembers so as to answer each once. Copies of a request arrive within minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionSnapshot:
    """The members of a segment in a partition, sorted. `rule_version` is 0 if the segment is not active there."""

    request: CutRequested
    rule_version: int
    position: LogPosition
    members: pa.StringArray

    @property
    def digest(self) -> Digest:
        """Digest of the members."""
        return digest_rows(pa.table({USER_ID: self.members}), RowSchema())

    def content(self) -> bytes:
        """The members as a Parquet file."""
        out = io.BytesIO()
        pq.write_table(pa.table({USER_ID: self.members}), out, compression="zstd")
        return out.getvalue()


class PendingSnapshots:
    """Snapshot requests that wait for their time."""

    def __init__(self) -> None:
        self._waiting: list[CutRequested] = []
        self._known: deque[JobId] = deque(maxlen=REMEMBERED)

    def request(self, message: CutRequested, offset: int, position: LogPosition) -> None:
        """Add a request from the log, unless a previous owner has passed it: its sender has sent it again since.

        Requests that wait or have been answered are skipped as well.
        """
        if offset >= position.activations and message.cut_id not in self._known:
            self._known.append(message.cut_id)
            self._waiting.append(message)
            self._waiting.sort(key=lambda waiting: waiting.at_us)

    @property
    def next_us(self) -> int:
        """When the first request is due; `NEVER` without any."""
        return self._waiting[0].at_us if self._waiting else NEVER

    def due(self, now_us: int) -> bool:
        """True if a request is due."""
        return self.next_us <= now_us

    def take(self, segments: PartitionSegments) -> tuple[list[Emission], PartitionSnapshot]:
        """Take the first snapshot: time advances to exactly its instant, unless it is later already."""
        request = self._waiting.pop(0)
        emitted = segments.advance(request.at_us)
        members = segments.members(request.tenant, request.segment)
        rules = segments.tenants[request.tenant].rules if members is not None else {}
        snapshot = PartitionSnapshot(
            request=request,
            rule_version=rules[request.segment].version if members is not None else 0,
            position=segments.position,
            members=pa.array([], pa.string()) if members is None else members,
        )
        return emitted, snapshot
