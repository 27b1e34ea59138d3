"""An export: sorted files, then the manifest that makes them one export.

The steps can be repeated:
1. `require_free`: refuse a destination that cannot be written, or that has another export already, before anything is
   read.
2. `write_group`: read the rows of one group through DuckDB, hash them, and write them as files whose names begin with
   the export's own stem. Groups are independent and may be written in parallel.
3. `finish`: the digests of all files must add up to the version's (of the base, minus removed, plus added rows); then
   write the manifest, unless there is one.
An export that dies and is repeated under its id writes the same bytes under the same names. One that fails removes its
files: thanks to the id they belong to no other export.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from connectors.lake.faults import lake_faults
from connectors.sinks.destinations import Destination
from connectors.sinks.export_files import write_files
from connectors.sinks.export_order import ExportOrder
from connectors.sinks.folders import require_few_folders
from connectors.sinks.selected_rows import selected_rows
from connectors.sinks.selection import Group
from connectors.sinks.stages import Stages
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from schemas.errors import FatalError, MusterError, UserError
from schemas.ids import JobId
from schemas.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    Manifest,
    ManifestFile,
)
from schemas.manifest_selection import Account, Change

RowsListener = Callable[[int], None]
"""Called with the number of rows written so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWritten:
    """The files of one group. `formulas`: number of texts in them that a spreadsheet may take for a formula.

    `accounts`: of the rows read, if the shape selects from them.
    """

    files: tuple[ManifestFile, ...]
    formulas: int = 0
    accounts: tuple[Account, ...] = ()

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows for file in self.files)


def export(
    order: ExportOrder,
    to: Destination,
    *,
    s3: S3Access,
    limits: DuckLimits,
    on_rows: RowsListener = lambda _: None,
) -> Manifest:
    """Write an export and return its manifest: all steps in this process.

    Raises `UserError` DESTINATION_EXISTS, DESTINATION_NOT_WRITABLE, SCHEMA_MISMATCH, FORMULA_FOUND, NULL_TOKEN_TAKEN;
    `FatalError` EXPORT_MISMATCH; `RetriableError` LAKE_UNAVAILABLE.
    """
    require_free(order, to)
    written: list[ManifestFile] = []
    groups: list[GroupWritten] = []
    try:
        for group in order.groups():
            before = sum(done.rows for done in groups)
            groups.append(
                write_group(
                    order,
                    group,
                    to,
                    s3=s3,
                    limits=limits,
                    on_rows=lambda rows, before=before: on_rows(before + rows),  # type: ignore[misc]
                    on_file=written.append,
                )
            )
        return finish(order, groups, to)
    except BaseException as exc:  # Ctrl-C, too
        unavailable = isinstance(exc, MusterError) and exc.code == "DESTINATION_UNAVAILABLE"
        if not unavailable and not _may_be_complete(order, to):
            remove_files(to, written)
        raise


def require_free(order: ExportOrder, to: Destination) -> None:
    """Step 1. Raises `UserError` DESTINATION_EXISTS, DESTINATION_NOT_WRITABLE."""
    to.check()
    found = to.manifest()
    if found is not None and manifest_of(order.export_id, found) is None:
        raise _exists(to)


def write_group(
    order: ExportOrder,
    group: Group,
    to: Destination,
    *,
    s3: S3Access,
    limits: DuckLimits,
    on_rows: RowsListener = lambda _: None,
    on_file: Callable[[ManifestFile], None] = lambda _: None,
) -> GroupWritten:
    """Step 2, for one group. `on_rows` gets the rows of this group so far, `on_file` each file once it is in place.

    Reading rows, writing the next file, and putting a file in place overlap: `on_rows` is called in another thread.

    Raises `UserError` DESTINATION_NOT_WRITABLE, SCHEMA_MISMATCH, FORMULA_FOUND, NULL_TOKEN_TAKEN; `RetriableError`
    LAKE_UNAVAILABLE.
    """
    rows = formulas = 0
    files: list[ManifestFile] = []
    accounts: list[Account] = []
    shape = order.effective_shape

    def count(more: int) -> None:
        nonlocal rows
        rows += more
        on_rows(rows)

    limits = replace(limits, temp_directory=limits.temp_directory / "export")
    stages = Stages()
    with (
        lake_faults("exporting"),
        to.scratch(limits.temp_directory) as scratch,
        closing(
            selected_rows(
                shape, group, base=order.compared_view, s3=s3, limits=limits, accounts=accounts, stages=stages
            )
        ) as found,
    ):
        for change, change_rows in found:
            kind = f"-{change}" if change else ""
            written = write_files(
                change_rows,
                shape.exported,
                order.format,
                scratch,
                stem=f"{order.stem}{kind}-{group.number:05d}",
                target_bytes=order.target_bytes,
                stages=stages,
                change=change,
                partition_by=shape.partition_by,
                batch_rows=order.batch_rows,
                on_rows=count,
            )
            for file in stages.prefetch(written, most=1):
                to.put(file.path, file.entry.key)
                files.append(file.entry)
                on_file(file.entry)
                formulas += file.formulas
    return GroupWritten(files=tuple(files), formulas=formulas, accounts=tuple(accounts))


def finish(order: ExportOrder, groups: Sequence[GroupWritten], to: Destination) -> Manifest:
    """Step 3; `groups` in order of their numbers.

    Raises `UserError` DESTINATION_EXISTS, TOO_MANY_PARTITIONS; `FatalError` EXPORT_MISMATCH.
    """
    manifest = _manifest(order, groups)
    require_few_folders({file.key.rpartition("/")[0] for file in manifest.files})
    changes: tuple[Change | None, ...] = (None,) if order.base is None else ("added", "removed")
    files = {change: manifest.total(change) for change in changes}
    if (fault := manifest.fault() or order.fault(manifest.selection, files)) is not None:
        raise FatalError(
            "EXPORT_MISMATCH", f"version {manifest.version} was not exported: {fault}", version=manifest.version
        )
    data = manifest.encode()
    if len(data) > MAX_MANIFEST_BYTES:
        raise UserError(
            "TOO_MANY_PARTITIONS",
            f"a manifest of {len(manifest.files)} files has {len(data)} bytes, more than {MAX_MANIFEST_BYTES}: no "
            "receiver would read it; choose columns with fewer values for the folders, or larger files",
            files=len(manifest.files),
        )
    if not to.put_manifest(data):
        found = to.manifest()  # written by this export, if its end was not recorded
        if found is None or manifest_of(order.export_id, found) is None:
            raise _exists(to)
    return manifest


def _may_be_complete(order: ExportOrder, to: Destination) -> bool:
    """True if the manifest of this export may be there although the export failed."""
    try:
        found = to.manifest()
    except (MusterError, OSError):
        return True
    return found is not None and manifest_of(order.export_id, found) is not None


def remove_files(to: Destination, files: Iterable[ManifestFile]) -> None:
    """Remove files that no manifest will name, as far as the destination allows."""
    for file in files:
        with suppress(MusterError, OSError):
            to.remove(file.key)


def manifest_of(export_id: JobId, found: bytes) -> Manifest | None:
    """The manifest found at a destination, if it belongs to this export; else None."""
    with suppress(UserError):  # an invalid manifest is not ours
        manifest = Manifest.parse(found)
        return manifest if manifest.export == export_id else None
    return None


def _manifest(order: ExportOrder, groups: Sequence[GroupWritten]) -> Manifest:
    info, shape = order.version.info, order.effective_shape
    selection = order.selection(account for group in groups for account in group.accounts)
    return Manifest(
        export=order.export_id,
        tenant=order.tenant,
        audience=order.audience,
        version=info.version,
        snapshot_id=info.snapshot_id,
        rule_hash=None if info.rule is None else info.rule.rule_hash,
        created_at=order.created_at,
        format=order.format,
        schema=shape.exported,
        members=info.members,
        digest=info.digest,
        files=tuple(file for group in groups for file in group.files),
        formulas_found=sum(group.formulas for group in groups),
        delta=order.delta(selection),
        selection=selection,
        partition_by=shape.partition_by,
        policy=order.policy,
    )


def _exists(to: Destination) -> UserError:
    return UserError(
        "DESTINATION_EXISTS",
        f"{to.uri(MANIFEST_NAME)} already exists: exports are never overwritten; choose another destination",
        destination=to.uri(MANIFEST_NAME),
    )
