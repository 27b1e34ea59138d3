"""`HistoricalActivity` over the archive and the published versions: the past of one partition, streamed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from connectors.lake.archive import ActivityArchive
from connectors.lake.archive_reading import BATCH_ROWS, archived_rows
from connectors.lake.archive_tables import ArchivedFile
from connectors.lake.faults import lake_faults
from connectors.lake.row_groups import batches_of, open_parquet
from connectors.storage.access import S3Access
from schemas.activity import EVENT_ROWS, OFFSET, PROFILE_ROWS
from schemas.activity_columns import EVENT, OCCURRED_AT
from schemas.columns import USER_ID
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import AudienceName, Partition, TenantName, Version
from schemas.partitioning import PARTITIONER, partitions_of
from schemas.topics import EVENTS, PROFILES
from segmentation.versions import AudienceRef, Part, VersionInfo, VersionStore

FindAudience = Callable[[TenantName, AudienceName], AudienceRef]
"""Finds the audience that has a name now. Raises `UserError` UNKNOWN_AUDIENCE."""
_USERS: Final = pa.schema([EVENT_ROWS.field(USER_ID), EVENT_ROWS.field(OFFSET)])


class ActivityHistory:
    """See `HistoricalActivity`. Thread-safe; a read needs the memory of one compressed file and one batch of rows.

    A read continues over the files that existed when it began, for at least `archive_upkeep.DEFAULT_GRACE`.
    """

    def __init__(
        self, *, archive: ActivityArchive, versions: VersionStore, find_audience: FindAudience, s3: S3Access
    ) -> None:
        self._archive = archive
        self._versions = versions
        self._find_audience = find_audience
        self._s3 = s3

    def known_users(
        self, tenant: TenantName, partition: Partition, *, events: int, profiles: int
    ) -> Iterator[pa.StringArray]:
        """See `HistoricalActivity.known_users`: distinct in each array."""
        for topic, before in ((EVENTS, events), (PROFILES, profiles)):
            for rows in self._rows(topic, tenant, partition, _USERS, first=0, before=before):
                yield rows.column(USER_ID).unique()

    def events(
        self,
        tenant: TenantName,
        partition: Partition,
        *,
        before: int,
        first: int = 0,
        names: Sequence[str] | None = None,
        since_us: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """See `HistoricalActivity.events`: `names` and `since_us` are both applied, and rows come in offset order."""
        since = None if since_us is None else pa.scalar(since_us, EVENT_ROWS.field(OCCURRED_AT).type)
        for rows in self._rows(EVENTS, tenant, partition, EVENT_ROWS, first=first, before=before, since_us=since_us):
            found = rows if names is None else rows.filter(pc.is_in(rows.column(EVENT), pa.array(names, pa.string())))
            yield found if since is None else found.filter(pc.greater(found.column(OCCURRED_AT), since))

    def profiles(
        self, tenant: TenantName, partition: Partition, *, before: int, first: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """See `HistoricalActivity.profiles`."""
        return self._rows(PROFILES, tenant, partition, PROFILE_ROWS, first=first, before=before)

    def members(
        self, tenant: TenantName, audience: AudienceName, version: Version, partition: Partition, partitions: int
    ) -> Iterator[pa.StringArray]:
        """See `HistoricalActivity.members`.

        Raises `RetriableError` LAKE_UNAVAILABLE if the version disappears during the read.
        """
        if (found := self._version(tenant, audience, version)) is None:
            return
        info, parts = found
        aligned = info.partitions == partitions and info.partitioner == PARTITIONER
        try:
            for part in parts:
                if aligned and part.partition is not None:
                    if part.partition == partition:
                        yield from self._users(part)
                    continue
                for users in self._users(part):
                    yield users.filter(pa.array(partitions_of(users, partitions)[0] == partition))
        except FatalError as exc:
            if exc.code == "LAKE_FILE_MISSING" and self._version(tenant, audience, version) is None:
                message = f"version {version} of {audience} was removed while it was being read"
                raise RetriableError("LAKE_UNAVAILABLE", message, audience=audience, version=version) from exc
            raise

    def _rows(
        self,
        topic: str,
        tenant: TenantName,
        partition: Partition,
        schema: pa.Schema,
        *,
        first: int,
        before: int,
        since_us: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Rows in offset order; rows of one record keep their order."""
        files = self._archive.files(topic, tenant=tenant, partition=partition, occurred_after_us=since_us)
        for file in files:
            if file.key.end_offset <= first or file.key.first_offset >= before:
                continue
            for rows in archived_rows(self._s3, file, schema):
                yield rows if _within(file, first, before) else _between(rows, first, before)

    def _version(
        self, tenant: TenantName, audience: AudienceName, version: Version
    ) -> tuple[VersionInfo, Sequence[Part]] | None:
        try:
            ref = self._find_audience(tenant, audience)
            return self._versions.version(ref, version), self._versions.files(ref, version)
        except UserError as exc:
            if exc.code in {"UNKNOWN_AUDIENCE", "NO_SUCH_VERSION"}:
                return None
            raise

    def _users(self, part: Part) -> Iterator[pa.StringArray]:
        with lake_faults(f"reading part {part.uri}"), open_parquet(self._s3, part.uri) as file:
            for batch in batches_of(file, BATCH_ROWS, [USER_ID]):
                yield batch.column(0).cast(pa.string())


def _within(file: ArchivedFile, first: int, before: int) -> bool:
    return first <= file.key.first_offset and file.key.end_offset <= before


def _between(rows: pa.RecordBatch, first: int, before: int) -> pa.RecordBatch:
    offset = rows.column(OFFSET)
    return rows.filter(pc.and_(pc.greater_equal(offset, first), pc.less(offset, before)))
