"""Leases that jobs have on versions: a tag `held-v<N>-<job>` keeps the snapshot, and thus its files, until released.

Expiry removes the version's own tag first and, in a second commit, the snapshots without any tag; a lease is committed
only while the version's own tag exists. So whichever of the two comes first, the other one sees it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from connectors.lake.commit import data_files
from connectors.lake.optimistic import Decision, Settled, Staged, commit_conflict, decide_and_commit, require_tag
from connectors.lake.snapshots import LEASE_TAG, listed_parts, read_history, tag_name, version_info
from connectors.lake.tables import AudienceTables
from schemas.errors import FatalError, UserError
from schemas.ids import JobId, Version
from segmentation.publishing import VersionHistory, require_version
from segmentation.versions import AudienceRef, Part, VersionInfo

if TYPE_CHECKING:
    from pyiceberg.table import Table


def lease_version(
    tables: AudienceTables, audience: AudienceRef, number: Version, leaseholder: JobId, sleep: Callable[[float], None]
) -> None:
    """See `VersionStore.lease`."""
    from pyiceberg.table.update.snapshot import ManageSnapshots

    def decide(found: "Table | None") -> Decision[None]:
        table, info = require_table(found, audience, number)
        if _lease_tag(number, leaseholder) in table.metadata.refs:
            return Settled(None)
        transaction = table.transaction()
        ManageSnapshots(transaction).create_tag(info.snapshot_id, _lease_tag(number, leaseholder)).commit()
        require_tag(transaction, tag_name(number), info.snapshot_id)
        return Staged(transaction, None)

    _commit(tables, audience, decide, sleep)


def release_versions(
    tables: AudienceTables, audience: AudienceRef, leaseholder: JobId, sleep: Callable[[float], None]
) -> None:
    """See `VersionStore.release`."""
    from pyiceberg.table.update.snapshot import ManageSnapshots

    def decide(table: "Table | None") -> Decision[None]:
        held_tags = [] if table is None else [tag for tag in table.metadata.refs if _is_lease_of(tag, leaseholder)]
        if table is None or not held_tags:
            return Settled(None)
        transaction = table.transaction()
        tags = ManageSnapshots(transaction)
        for tag in held_tags:
            tags = tags.remove_tag(tag)
        tags.commit()
        return Staged(transaction, None)

    _commit(tables, audience, decide, sleep)


def leaseholders(tables: AudienceTables, audience: AudienceRef) -> set[JobId]:
    """See `VersionStore.leaseholders`."""
    table = tables.find(audience)
    tags = () if table is None else table.metadata.refs
    return {JobId(found[1]) for tag in tags if (found := LEASE_TAG.fullmatch(tag)) is not None}


def leased_version(
    tables: AudienceTables, audience: AudienceRef, number: Version, leaseholder: JobId
) -> tuple[VersionInfo, Sequence[Part]]:
    """See `VersionStore.leased`."""
    table = tables.find(audience)
    if table is None:
        raise UserError(
            "AUDIENCE_DELETED", f"audience {audience.audience} has been deleted", audience=audience.audience
        )
    ref = table.metadata.refs.get(_lease_tag(number, leaseholder))
    snapshot = None if ref is None else table.metadata.snapshot_by_id(ref.snapshot_id)
    if snapshot is None:
        raise FatalError(
            "NOT_HELD", f"version {number} of {audience.audience} is not leased by {leaseholder}", job=leaseholder
        )
    info = version_info(snapshot)
    return info, parts_of(table, audience, info)


def require_table(table: "Table | None", audience: AudienceRef, number: Version) -> tuple["Table", VersionInfo]:
    """The table and the version in it. Raises `UserError` NO_SUCH_VERSION."""
    info = require_version(read_history(table.metadata) if table else VersionHistory(), audience, number)
    if table is None:
        raise AssertionError("unreachable")
    return table, info


def parts_of(table: "Table", audience: AudienceRef, info: VersionInfo) -> Sequence[Part]:
    """The files of a version, ordered by partition. Raises `FatalError` LAKE_MISMATCH."""
    snapshot = table.metadata.snapshot_by_id(info.snapshot_id)
    if snapshot is None:
        raise FatalError("LAKE_MISMATCH", f"tag of version {info.version} has no snapshot {info.snapshot_id}")
    listed = listed_parts(snapshot, table.location() + "/")
    stored = {uri: file.record_count for uri, file in data_files(table, info.snapshot_id).items()}
    if stored != {uri: part.rows for uri, part in listed.items()}:
        raise FatalError(
            "LAKE_MISMATCH",
            f"{audience.audience} version {info.version}: the summary of snapshot {info.snapshot_id} lists "
            f"{len(listed)} files, its manifests list {len(stored)}, and the two lists differ",
            snapshot_id=info.snapshot_id,
            version=info.version,
        )
    return sorted(listed.values(), key=lambda p: (p.partition is None, p.partition or 0, p.uri))


def leased_snapshots(refs: Iterable[tuple[str, int]]) -> set[int]:
    """Snapshots with a lease, from pairs (tag, snapshot id)."""
    return {snapshot_id for tag, snapshot_id in refs if LEASE_TAG.fullmatch(tag)}


def _lease_tag(number: Version, leaseholder: JobId) -> str:
    return f"held-v{number}-{leaseholder}"


def _is_lease_of(tag: str, leaseholder: JobId) -> bool:
    found = LEASE_TAG.fullmatch(tag)
    return found is not None and found[1] == leaseholder


def _commit(
    tables: AudienceTables,
    audience: AudienceRef,
    decide: "Callable[[Table | None], Decision[None]]",
    sleep: Callable[[float], None],
) -> None:
    decide_and_commit(
        lambda: tables.find(audience),
        decide,
        doing=f"leasing a version of {audience.audience}",
        conflict=commit_conflict("HOLD_CONFLICT", audience=audience.audience),
        sleep=sleep,
    )
