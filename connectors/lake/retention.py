"""Expiry: first removes versions from the table that nothing keeps, then objects that nothing refers to any more.

The order matters. A rollback needs the tag of its source to commit, so once the tags are gone no new reference to the
files can appear; the objects deleted are those that the table *after* that commit does not refer to.
"""

import logging
from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from connectors.lake.bounds import COUNTS, WITHOUT_BOUNDS, strip_manifests
from connectors.lake.leases import leased_snapshots
from connectors.lake.optimistic import Decision, Result, Settled, Staged, commit_conflict, decide_and_commit
from connectors.lake.snapshots import EXPIRED_THROUGH, read_history, tag_name
from connectors.lake.tables import AudienceTables
from connectors.storage.access import S3Access
from connectors.storage.listing import ObjectInfo, delete_objects, list_objects
from schemas.ids import JobId, Version
from schemas.layout import TOMBSTONE, audience_prefix, part_import, s3_uri
from segmentation.publishing import expired_versions
from segmentation.versions import AudienceRef, Expired, VersionInfo

if TYPE_CHECKING:
    from pyiceberg.table import Table

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What an audience keeps; see `VersionStore.expire`."""

    keep_last: int
    keep_younger_than: timedelta
    now: datetime
    pins: Set[Version]
    live_imports: Set[JobId]
    grace: timedelta


def expire_table(
    tables: AudienceTables,
    s3: S3Access,
    bucket: str,
    audience: AudienceRef,
    retention: Retention,
    sleep: Callable[[float], None],
) -> Expired:
    """Expire versions, then delete unreferenced objects. Raises `RetriableError` EXPIRE_CONFLICT.

    Also strips manifests from an earlier release of the ids that they store as bounds.
    """
    commits = _Commits(tables, audience, sleep)
    _strip_bounds(commits, s3)
    expired = _expire_versions(commits, retention)
    garbage = unreferenced_objects(tables, s3, bucket, audience, retention)
    delete_objects(s3.client(), bucket, [entry.key for entry in garbage])
    return Expired(
        versions=tuple(v.version for v in expired), files=len(garbage), bytes=sum(entry.size for entry in garbage)
    )


def unreferenced_objects(
    tables: AudienceTables, s3: S3Access, bucket: str, audience: AudienceRef, retention: Retention
) -> list[ObjectInfo]:
    """Objects that the audience's table does not refer to, if old enough and not of a live import."""
    prefix = audience_prefix(audience.tenant, audience.audience_id)
    # Listed before the table is loaded: objects added by a publish in between are not in the list.
    stored = list(list_objects(s3.client(), bucket, prefix))
    table = tables.find(audience)
    referenced = referenced_uris(table) if table is not None else set()
    return [
        entry
        for entry in stored
        if entry.key != prefix + TOMBSTONE
        and s3_uri(bucket, entry.key) not in referenced
        and retention.now - entry.last_modified >= retention.grace
        and part_import(entry.key) not in retention.live_imports
    ]


def referenced_uris(table: "Table") -> set[str]:
    """All URIs that the table refers to: metadata files, manifest lists, manifests, data files."""
    uris = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    for snapshot in table.metadata.snapshots:
        uris.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in uris:
                uris.add(manifest.manifest_path)
                entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
                uris.update(entry.data_file.file_path for entry in entries)
    return uris


@dataclass(frozen=True, slots=True)
class _Commits:
    """Commits of one expiry."""

    tables: AudienceTables
    audience: AudienceRef
    sleep: Callable[[float], None]

    def make(self, decide: "Callable[[Table], Decision[Result]]", default: Result) -> Result:
        """Commit a decision about the audience's table and return its result; `default` if there is no table."""
        return decide_and_commit(
            lambda: self.tables.find(self.audience),
            lambda table: Settled(default) if table is None else decide(table),
            doing=f"expiring versions of {self.audience.audience}",
            conflict=commit_conflict("EXPIRE_CONFLICT", audience=self.audience.audience),
            sleep=self.sleep,
        )


def _expire_versions(commits: _Commits, retention: Retention) -> tuple[VersionInfo, ...]:
    """Remove the tags of expired versions, then the snapshots without any tag (`leases` says why)."""
    from pyiceberg.table.update.snapshot import ExpireSnapshots, ManageSnapshots

    wanted: dict[Version, VersionInfo] = {}

    def untag(table: "Table") -> Decision[tuple[VersionInfo, ...]]:
        history = read_history(table.metadata)
        leased = leased_snapshots((name, ref.snapshot_id) for name, ref in table.metadata.refs.items())
        due = expired_versions(
            history.versions,
            keep_last=retention.keep_last,
            keep_younger_than=retention.keep_younger_than,
            now=retention.now,
            pins=retention.pins | {v.version for v in history.versions if v.snapshot_id in leased},
        )
        remaining = {v.version for v in history.versions}
        # Versions removed by a commit whose response was lost.
        removed_before = tuple(info for number, info in wanted.items() if number not in remaining)
        if not due:
            return Settled(removed_before)
        wanted.update((info.version, info) for info in due)
        transaction = table.transaction()
        tags = ManageSnapshots(transaction)
        for version in due:
            tags = tags.remove_tag(tag_name(version.version))
        tags.commit()
        through = max(history.expired_through, *(version.version for version in due))
        transaction.set_properties({EXPIRED_THROUGH: str(through)})
        return Staged(transaction, removed_before + due)

    def expire_untagged(table: "Table") -> Decision[None]:
        kept = {ref.snapshot_id for ref in table.metadata.refs.values()}
        untagged = [s.snapshot_id for s in table.metadata.snapshots if s.snapshot_id not in kept]
        if not untagged:
            return Settled(None)
        transaction = table.transaction()
        ExpireSnapshots(transaction).by_ids(untagged).commit()
        return Staged(transaction, None)

    default: tuple[VersionInfo, ...] = ()
    expired = commits.make(untag, default)
    commits.make(expire_untagged, None)
    return expired


def _strip_bounds(commits: _Commits, s3: S3Access) -> None:
    """Strip bounds until a pass finds none: a concurrent commit may carry bounds over from the manifests it loaded."""

    def mark(table: "Table") -> Decision[None]:
        if WITHOUT_BOUNDS.items() <= table.metadata.properties.items():
            return Settled(None)
        if found := strip_manifests(table, s3):
            _log.info("%s: %d manifests held ids as bounds", commits.audience.audience, found)
            return Settled(None)
        transaction = table.transaction()
        transaction.set_properties({**COUNTS, **WITHOUT_BOUNDS})
        return Staged(transaction, None)

    commits.make(mark, None)
