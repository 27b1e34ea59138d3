"""What the archive has of one source: whether every row of a file has arrived, and how many of its events are new."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from connectors.lake.archive import ActivityArchive
from connectors.lake.archive_tables import ArchivedFile
from connectors.lake.faults import lake_faults
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, connect
from schemas.activity import IDENTITY, OFFSET, SOURCE, SOURCE_ORDINAL
from schemas.activity_columns import EVENT, EVENT_ID, OCCURRED_AT
from schemas.columns import USER_ID
from schemas.ids import Partition, TenantName
from schemas.sql_text import identifier, literal
from schemas.topics import PROFILES

if TYPE_CHECKING:
    import duckdb

ALL: Final[Mapping[Partition, int]] = MappingProxyType({})
_EVENT_KEY: Final = (USER_ID, EVENT, OCCURRED_AT, IDENTITY)
"""Columns that identify an event of a tenant: rows equal in them are one event (`schemas.activity.EVENT_ROWS`)."""
_OFFSET: Final = identifier(OFFSET)
_ONE: Final = f"{SOURCE} = ?"
_SEVERAL: Final = f"{SOURCE} IN (SELECT unnest(?::VARCHAR[]))"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRows:
    """Counts of one source's rows in one partition.

    `rows`: all rows; a row that was sent twice counts twice. `ordinals`: distinct rows of its files. `new`: for
    profiles, equal to `ordinals`; for events, those that no earlier record of the partition contains. So once all rows
    of a file have arrived, accepted = ordinals, and ordinals = new + duplicates.
    """

    rows: int
    ordinals: int
    new: int


class ActivityReceipts:
    """Queries the archive about sources. Thread-safe; every call opens its own DuckDB, within `limits`."""

    def __init__(self, *, archive: ActivityArchive, s3: S3Access, limits: DuckLimits) -> None:
        self._archive = archive
        self._s3 = s3
        self._limits = limits

    def stored(
        self, topic: str, tenant: TenantName, sources: Sequence[str], *, since: Mapping[Partition, int] = ALL
    ) -> Mapping[Partition, StoredRows]:
        """Counts for each partition with rows of the sources, up to `ActivityArchive.archived_to`.

        `since`: per partition, the offset from which rows count as rows of the sources. Earlier rows belong to an
        earlier import: sending a source again sends nothing new.

        Raises `RetriableError` LAKE_UNAVAILABLE, CATALOG_UNAVAILABLE, `FatalError` LAKE_FILE_MISSING, LAKE_UNREADABLE.
        """
        files: dict[Partition, list[ArchivedFile]] = {}
        for file in self._archive.files(topic, tenant=tenant):
            files.setdefault(file.key.partition, []).append(file)
        self._limits.temp_directory.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=self._limits.temp_directory) as scratch,
            lake_faults(f"looking for {sources[0][:200]} in the archive"),
            connect(replace(self._limits, temp_directory=Path(scratch)), self._s3) as connection,
        ):
            found = {
                partition: _stored(connection, topic, of_partition, sources, since.get(partition, 0))
                for partition, of_partition in files.items()
                if of_partition[-1].key.end_offset > since.get(partition, 0)
            }
        return {partition: stored for partition, stored in found.items() if stored.rows}


def _stored(
    connection: "duckdb.DuckDBPyConnection",
    topic: str,
    files: Sequence[ArchivedFile],
    sources: Sequence[str],
    since: int,
) -> StoredRows:
    """Counts for one partition at a time, so that grouping and joining need the memory of one partition."""
    is_own, source = (_ONE, sources[0]) if len(sources) == 1 else (_SEVERAL, list(sources))
    own_rows = f"{is_own} AND {_OFFSET} >= ?"
    source_files = _table([file for file in files if file.key.end_offset > since])
    rows, ordinals, end = _one(
        connection,
        "SELECT coalesce(sum(n), 0)::BIGINT, count(*), max(last) FROM "  # noqa: S608  # values are bound
        f"(SELECT {SOURCE}, {SOURCE_ORDINAL}, count(*) AS n, max({_OFFSET}) AS last FROM {source_files} "
        f"WHERE {own_rows} GROUP BY ALL)",
        source,
        since,
    )
    if topic == PROFILES or not rows:
        return StoredRows(rows=rows, ordinals=ordinals, new=ordinals)
    earliest, latest, with_ids = _one(
        connection,
        f"SELECT min({OCCURRED_AT})::VARCHAR, max({OCCURRED_AT})::VARCHAR, count({EVENT_ID}) "  # noqa: S608
        f"FROM {source_files} WHERE {own_rows}",
        source,
        since,
    )
    earlier_files = _table([file for file in files if file.key.first_offset <= end])
    (new,) = _one(
        connection,
        f"WITH own AS (SELECT {', '.join(_EVENT_KEY)}, min({_OFFSET}) AS first FROM {source_files} "  # noqa: S608
        f"WHERE {own_rows} GROUP BY ALL) "
        f"SELECT count(*) FROM own WHERE NOT EXISTS (FROM {earlier_files} AS other "
        f"WHERE {OCCURRED_AT} BETWEEN ?::TIMESTAMPTZ AND ?::TIMESTAMPTZ AND (? OR {is_own}) "
        f"AND {' AND '.join(f'other.{name} = own.{name}' for name in _EVENT_KEY)} AND other.{_OFFSET} < own.first)",
        source,
        since,
        earliest,
        latest,
        with_ids > 0,  # events without an id are identified by their source: no other source has the same
        source,
    )
    return StoredRows(rows=rows, ordinals=ordinals, new=new)


def _table(files: Sequence[ArchivedFile]) -> str:
    return f"read_parquet([{', '.join(literal(file.uri) for file in files)}])"


def _one(connection: "duckdb.DuckDBPyConnection", query: str, *values: object) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(query, list(values)).fetchone()
    assert row is not None  # noqa: S101  # an aggregate
    return row
