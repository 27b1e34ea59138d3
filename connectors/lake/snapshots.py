"""A version as the summary of an Iceberg snapshot, and an audience's history as its table metadata.

Summary properties: muster.version, import-id, attempt, mode, sequence (the order key), partitions, partitioner,
schema-id, columns (JSON), members, digest, base-version, source-version, counts (JSON), published-at, reason, rule
(JSON, of a segment's snapshot), nulls (JSON, by column), and parts (JSON rows of [name, partition, rows, bytes,
digest]; the name is relative to the table's location).
Table properties: muster.audience-id, last-version, high-water-sequence, high-water-import, high-water-version,
expired-through.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol, cast

from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, JobId, Partition, Version
from schemas.records import as_record, from_record
from segmentation.publishing import HighWater, VersionHistory
from segmentation.versions import MembershipCounts, Part, SegmentRule, VersionInfo, VersionMode

P: Final = "muster."
AUDIENCE_ID: Final = P + "audience-id"
LAST_VERSION: Final = P + "last-version"
HIGH_WATER: Final = P + "high-water-sequence"
HIGH_WATER_IMPORT: Final = P + "high-water-import"
HIGH_WATER_VERSION: Final = P + "high-water-version"
EXPIRED_THROUGH: Final = P + "expired-through"
_TAG: Final = re.compile(r"v([1-9]\d*)")
LEASE_TAG: Final = re.compile(r"held-v[1-9]\d*-(\w+)")
"""Tag for a job's lease on a version; see `leases`."""


class Summary(Protocol):
    """What is said of a snapshot, besides its operation."""

    @property
    def additional_properties(self) -> Mapping[str, str]:
        """Properties by name."""


class Snapshot(Protocol):
    """A snapshot, as far as it is read here: pyiceberg's, or that of a metadata file (`history_file`)."""

    @property
    def snapshot_id(self) -> int:
        """Its id."""

    @property
    def summary(self) -> Summary | None:
        """Its summary."""


class Reference(Protocol):
    """A tag or a branch."""

    @property
    def snapshot_id(self) -> int:
        """The snapshot it names."""


class Metadata(Protocol):
    """The metadata of a table, as far as they are read here."""

    @property
    def snapshots(self) -> Sequence[Snapshot]:
        """All snapshots."""

    @property
    def refs(self) -> Mapping[str, Reference]:
        """Tags and branches by name."""

    @property
    def properties(self) -> Mapping[str, str]:
        """Properties of the table."""


def tag_name(version: Version) -> str:
    """Tag of a version: `v7`."""
    return f"v{version}"


def summary_properties(info: VersionInfo, parts: Iterable[Part], location: str) -> dict[str, str]:
    """Snapshot summary of a version and its files (without empty ones)."""
    rows = [
        [p.uri.removeprefix(location), p.partition, p.rows, p.bytes, f"{p.digest.sum0:016x}:{p.digest.sum1:016x}"]
        for p in parts
        if p.rows
    ]
    properties = {
        "version": info.version,
        "import-id": info.import_id,
        "attempt": info.attempt,
        "mode": info.mode,
        "sequence": info.order_key,
        "partitions": info.partitions,
        "partitioner": info.partitioner,
        "schema-id": info.row_schema.schema_id,
        "columns": json.dumps(info.row_schema.as_record(), separators=(",", ":")),
        "members": info.members,
        "digest": info.digest,
        "base-version": info.base_version,
        "source-version": info.source_version,
        "counts": json.dumps(as_record(info.counts), separators=(",", ":")) if info.counts else None,
        "published-at": info.published_at.isoformat(),
        "reason": info.reason or None,
        "rule": json.dumps(as_record(info.rule), separators=(",", ":")) if info.rule else None,
        "nulls": None if info.nulls is None else json.dumps(dict(info.nulls), separators=(",", ":")),
        "parts": json.dumps(rows, separators=(",", ":")),
    }
    return {P + name: str(value) for name, value in properties.items() if value is not None}


def version_info(snapshot: Snapshot) -> VersionInfo:
    """Inverse of `summary_properties`."""
    text = _summary(snapshot)
    counts, rule, nulls = (text.get(P + name) for name in ("counts", "rule", "nulls"))
    return VersionInfo(
        version=Version(int(text[P + "version"])),
        snapshot_id=snapshot.snapshot_id,
        import_id=JobId(text[P + "import-id"]),
        attempt=Attempt(int(text[P + "attempt"])),
        mode=cast(VersionMode, text[P + "mode"]),
        order_key=text[P + "sequence"],
        partitions=int(text[P + "partitions"]),
        partitioner=text[P + "partitioner"],
        row_schema=RowSchema.from_record(json.loads(text[P + "columns"])),
        members=int(text[P + "members"]),
        digest=Digest.parse(text[P + "digest"]),
        base_version=_version(text.get(P + "base-version")),
        source_version=_version(text.get(P + "source-version")),
        counts=from_record(MembershipCounts, json.loads(counts)) if counts else None,
        published_at=datetime.fromisoformat(text[P + "published-at"]),
        reason=text.get(P + "reason", ""),
        rule=from_record(SegmentRule, json.loads(rule)) if rule else None,
        nulls=json.loads(nulls) if nulls else None,
    )


def listed_parts(snapshot: Snapshot, location: str) -> dict[str, Part]:
    """The parts in a snapshot's summary, by URI."""
    text = _summary(snapshot)
    schema_id = text[P + "schema-id"]
    parts = {}
    for name, partition, rows, size, sums in json.loads(text[P + "parts"]):
        uri = name if "://" in name else location + name
        parts[uri] = Part(
            uri=uri,
            rows=rows,
            bytes=size,
            digest=Digest.parse(f"{schema_id}:{rows}:{sums}"),
            partition=None if partition is None else Partition(partition),
        )
    return parts


def read_history(metadata: Metadata) -> VersionHistory:
    """The audience's history from its table: tagged snapshots, high-water mark, highest version ever."""
    by_id = {s.snapshot_id: s for s in metadata.snapshots}
    tagged = [ref.snapshot_id for name, ref in metadata.refs.items() if _TAG.fullmatch(name)]
    versions = sorted((version_info(by_id[i]) for i in tagged), key=lambda v: v.version)
    text = metadata.properties
    mark = None
    if HIGH_WATER in text:
        mark = HighWater(
            order_key=text[HIGH_WATER],
            import_id=JobId(text[HIGH_WATER_IMPORT]),
            version=Version(int(text[HIGH_WATER_VERSION])),
        )
    return VersionHistory(
        versions=tuple(versions),
        last_version=int(text.get(LAST_VERSION, "0")),
        high_water=mark,
        expired_through=int(text.get(EXPIRED_THROUGH, "0")),
    )


def history_properties(info: VersionInfo, mark: HighWater | None) -> dict[str, str]:
    """Table properties for a new version; `mark=None` leaves the high-water mark unchanged."""
    properties = {LAST_VERSION: str(info.version)}
    if mark is not None:
        properties |= {
            HIGH_WATER: mark.order_key,
            HIGH_WATER_IMPORT: mark.import_id,
            HIGH_WATER_VERSION: str(mark.version),
        }
    return properties


def _summary(snapshot: Snapshot) -> Mapping[str, str]:
    if snapshot.summary is None:
        raise ValueError(f"snapshot {snapshot.snapshot_id} has no summary")
    return snapshot.summary.additional_properties


def _version(text: str | None) -> Version | None:
    return None if text is None else Version(int(text))
