"""Published versions, read without pyiceberg: for the service."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from connectors.lake.history_file import parse_history
from orchestration.catalog.engine import Database
from orchestration.catalog.lake_tables import LakeTable, lake_table, lake_tables
from orchestration.catalog.records import Audience
from orchestration.catalog.references import ref_of
from orchestration.records.audiences import CurrentVersion
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import TenantName, Version
from schemas.layout import audience_prefix, s3_uri, split_s3_uri
from schemas.records import as_record
from segmentation.publishing import VersionHistory, require_version
from segmentation.versions import AudienceRef, TableAddress, VersionInfo

if TYPE_CHECKING:
    from connectors.storage.objects import ObjectStore

TRIES: Final = 8
AT_ONCE: Final = 8
"""Metadata files that are read at once for a list."""
KNOWN: Final = 2_000
"""Current versions that are remembered, at about 2 KB each."""


class Recent:
    """Current versions by the URI of their metadata file, which never changes. Thread-safe; forgets the oldest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, VersionInfo | None] = OrderedDict()

    def put(self, uri: str, version: VersionInfo | None) -> None:
        """Remember one."""
        with self._lock:
            self._found[uri] = version
            self._found.move_to_end(uri)
            if len(self._found) > KNOWN:
                self._found.popitem(last=False)

    def get(self, uri: str) -> VersionInfo | None:
        """Raises KeyError."""
        with self._lock:
            return self._found[uri]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionHistories:
    """Histories of audiences, as `VersionStore` reads them. `objects` is called when needed: boto3 loads slowly."""

    database: Database
    bucket: str
    objects: "Callable[[], ObjectStore]"
    recent: Recent = field(default_factory=Recent, init=False, repr=False)

    def current(self, audience: AudienceRef) -> VersionInfo | None:
        """The current version of an audience. Raises as `of`."""
        return self._read(audience).current

    def currents(self, tenant: TenantName, audiences: Sequence[AudienceRef]) -> list[VersionInfo | None]:
        """The current versions of audiences of a tenant; what was read before is not read again. Raises as `of`."""
        places = [self._location(one) for one in audiences]
        tables = lake_tables(self.database, tenant, places)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._current, audiences, map(tables.get, places)))

    def _current(self, audience: AudienceRef, table: LakeTable | None) -> VersionInfo | None:
        if table is None:
            return None
        try:
            return self.recent.get(table.metadata)
        except KeyError:
            return self._read(audience, table).current

    def version(self, audience: AudienceRef, number: Version) -> VersionInfo:
        """A version of an audience. Raises `UserError` NO_SUCH_VERSION, and as `of`."""
        return require_version(self._read(audience), audience, number)

    def of(self, audience: Audience) -> VersionHistory:
        """The history of an audience; empty before the first publish.

        Raises `RetriableError` CATALOG_UNAVAILABLE, LAKE_UNAVAILABLE, S3_UNAVAILABLE, `FatalError` LAKE_UNREADABLE.
        """
        return self._read(ref_of(audience))

    def address(self, audience: AudienceRef) -> TableAddress | None:
        """The audience's table. None before the first publish. Raises `RetriableError` CATALOG_UNAVAILABLE."""
        table = self._table(audience)
        if table is None:
            return None
        return TableAddress(
            name=f"{audience.tenant}.{table.name}",
            location=self._location(audience).rstrip("/"),
            metadata=table.metadata,
        )

    def _location(self, audience: AudienceRef) -> str:
        return s3_uri(self.bucket, audience_prefix(audience.tenant, audience.audience_id))

    def _table(self, audience: AudienceRef) -> LakeTable | None:
        return lake_table(self.database, audience.tenant, self._location(audience))

    def _read(self, audience: AudienceRef, seen: LakeTable | None = None) -> VersionHistory:
        """`seen`: its table, if it was looked up a moment ago."""
        for _ in range(TRIES):
            table, seen = seen or self._table(audience), None
            if table is None:
                return VersionHistory()
            uri = table.metadata
            try:
                history = parse_history(self.objects().get(*split_s3_uri(uri)), uri)
                self.recent.put(uri, history.current)
                return history
            except UserError as exc:
                if exc.code != "SOURCE_GONE":  # our own bucket: nothing that a customer could repair
                    raise FatalError("LAKE_UNREADABLE", f"{uri}: {exc}", uri=uri) from exc
                # So many versions were published meanwhile that the file was cleaned up: another one is current.
        raise RetriableError(
            "LAKE_UNAVAILABLE", f"audience {audience.audience} is changing too fast to be read; try again"
        )


def shown_version(info: VersionInfo) -> CurrentVersion:
    """A version as the service answers it."""
    return CurrentVersion(
        version=info.version,
        tag=f"v{info.version}",
        snapshot_id=info.snapshot_id,
        made_by=info.import_id,
        attempt=info.attempt,
        mode=info.mode,
        members=info.members,
        digest=str(info.digest),
        schema=info.row_schema.as_record(),
        base_version=info.base_version,
        source_version=info.source_version,
        membership=None if info.counts is None else as_record(info.counts),
        published_at=info.published_at.isoformat(),
        reason=info.reason,
        rule=None if info.rule is None else as_record(info.rule),
    )
