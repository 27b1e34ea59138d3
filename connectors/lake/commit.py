"""Commits one version as ONE pyiceberg transaction on ONE loaded state of the table, with the steps of `optimistic`.

1. load the table and its history
2. ask the plan (the rules of `segmentation.publishing`); if it returns an outcome, stop
3. stage: schema evolution, one overwrite snapshot, table properties (high-water mark, last version), the tag
4. commit; the catalog accepts it only if `main` is still what step 1 loaded
5. if lost, or if the outcome is unknown: repeat from step 1, where a snapshot with our import id shows that step 4
   succeeded
"""

from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from connectors.lake.bounds import COUNTS
from connectors.lake.faults import lake_faults
from connectors.lake.optimistic import Decision, Settled, Staged, commit_conflict, decide_and_commit, require_tag
from connectors.lake.snapshots import history_properties, read_history, summary_properties, tag_name
from connectors.lake.tables import AudienceTables, iceberg_type
from schemas import tracing
from schemas.columns import Column, RowSchema
from schemas.errors import FatalError, UserError
from segmentation.publishing import HighWater, VersionHistory
from segmentation.versions import AudienceRef, Part, Published, PublishOutcome, VersionInfo

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table, Transaction

FOOTER_THREADS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionChange:
    """A version to create, and its files. `mark=None` leaves the high-water mark unchanged.

    `source`: a version whose files are reused, so it must still exist at the commit; its columns come back with their
    types. `retype`: columns whose type in the table may change.
    """

    info: VersionInfo
    parts: Sequence[Part]
    mark: HighWater | None
    source: VersionInfo | None = None
    retype: Set[str] = frozenset()


Plan = Callable[[VersionHistory], PublishOutcome | VersionChange]


def load_history(tables: AudienceTables, audience: AudienceRef) -> VersionHistory:
    """The audience's history; empty before the first publish."""
    with lake_faults(f"reading the versions of {audience.audience}"):
        table = tables.find(audience)
        return read_history(table.metadata) if table is not None else VersionHistory()


def commit_version(
    tables: AudienceTables, audience: AudienceRef, plan: Plan, schema: RowSchema, sleep: Callable[[float], None]
) -> PublishOutcome:
    """Steps 1 to 5, a bounded number of times. Raises `RetriableError` PUBLISH_CONFLICT if others keep winning."""

    def decide(table: "Table") -> Decision[PublishOutcome]:
        step = plan(read_history(table.metadata))
        if not isinstance(step, VersionChange):
            return Settled(step)
        info, transaction = step.info, table.transaction()
        snapshot_id = stage_version(table, transaction, step)
        return Staged(
            transaction,
            Published(version=info.version, snapshot_id=snapshot_id, members=info.members, digest=info.digest),
        )

    with tracing.span("commit version"):
        return decide_and_commit(
            lambda: tables.find_or_create(audience, schema),
            decide,
            doing=f"publishing a version of {audience.audience}",
            conflict=commit_conflict("PUBLISH_CONFLICT", audience=audience.audience),
            sleep=sleep,
        )


def stage_version(table: "Table", transaction: "Transaction", change: VersionChange) -> int:
    """Step 3; returns the new snapshot's id. Raises what pyiceberg raises."""
    from pyiceberg.table.update.snapshot import ManageSnapshots

    from connectors.lake.overwriting import Overwrite

    info = change.info
    if not COUNTS.items() <= table.metadata.properties.items():  # a table from an earlier release
        transaction.set_properties(COUNTS)
    back = {column.name for column in info.row_schema.columns} if change.source is not None else set()
    evolve_schema(transaction, info.row_schema, change.retype | back)
    before = data_files(table, table.metadata.current_snapshot_id)
    after = _new_files(table, transaction, change, before)
    summary = summary_properties(info, change.parts, table.location() + "/")
    with Overwrite(transaction, summary) as overwrite:
        for uri, file in before.items():
            if uri not in after:
                overwrite.delete_data_file(file)
        for uri, file in after.items():
            if uri not in before:
                overwrite.append_data_file(file)
    transaction.set_properties(history_properties(info, change.mark))
    ManageSnapshots(transaction).create_tag(overwrite.snapshot_id, tag_name(info.version)).commit()
    if change.source is not None:
        require_tag(transaction, tag_name(change.source.version), change.source.snapshot_id)
    return overwrite.snapshot_id


def evolve_schema(transaction: "Transaction", schema: RowSchema, retype: Set[str] = frozenset()) -> None:
    """Add columns that the table lacks, and replace retyped ones.

    Iceberg identifies a column by its id: a column with a new type gets a new id, and earlier snapshots keep the old
    one. Raises `UserError` SCHEMA_MISMATCH if the type of any other column would change.
    """
    existing = {field.name.lower(): field for field in transaction.table_metadata.schema().fields}
    missing: list[Column] = []
    retyped: list[str] = []
    for column in schema.columns:
        field = existing.get(column.name.lower())
        if field is None:
            missing.append(column)
        elif (field.name, field.field_type) == (column.name, iceberg_type(column.type)):
            continue
        elif column.name in retype:
            retyped.append(field.name)
            missing.append(column)
        else:
            raise UserError(
                "SCHEMA_MISMATCH",
                f"column {column.name} arrives as {column.type}, but the audience has {field.name} as "
                f"{field.field_type}; use --retype {column.name}, or give the new values their own column name",
                column=column.name,
                type=column.type,
                existing_column=field.name,
                existing_type=str(field.field_type),
            )
    if missing:
        with transaction.update_schema(allow_incompatible_changes=bool(retyped)) as update:
            for name in retyped:
                update.delete_column(name)
            for column in missing:
                update.add_column(column.name, iceberg_type(column.type))


def data_files(table: "Table", snapshot_id: int | None) -> dict[str, "DataFile"]:
    """The files of a snapshot, by URI; empty without a snapshot."""
    snapshot = table.metadata.snapshot_by_id(snapshot_id) if snapshot_id is not None else None
    if snapshot is None:
        return {}
    return {
        entry.data_file.file_path: entry.data_file
        for manifest in snapshot.manifests(table.io)
        if manifest.has_added_files() or manifest.has_existing_files()
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
    }


def _new_files(
    table: "Table", transaction: "Transaction", change: VersionChange, before: dict[str, "DataFile"]
) -> dict[str, "DataFile"]:
    from pyiceberg.io.pyarrow import parquet_file_to_data_file

    known = before
    if change.source is not None and change.source.snapshot_id != table.metadata.current_snapshot_id:
        known = before | data_files(table, change.source.snapshot_id)
    # Iceberg's statistics cannot describe an empty file, and readers do not need it.
    parts = [part for part in change.parts if part.rows]

    def described(part: Part) -> "DataFile":
        file = known.get(part.uri) or parquet_file_to_data_file(table.io, transaction.table_metadata, part.uri)
        if file.record_count != part.rows:
            raise FatalError("PART_MISMATCH", f"part {part.uri} changed while it was being published", part=part.uri)
        return file

    with ThreadPoolExecutor(FOOTER_THREADS) as pool:
        return dict(zip((part.uri for part in parts), pool.map(described, parts), strict=True))
