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
from typing import Final

from connectors.lake.faults import lake_faults
from connectors.sinks.destinations import Destination
from connectors.sinks.export_files import write_files
from connectors.sinks.folders import require_few_folders
from connectors.sinks.selected_rows import selected_rows
from connectors.sinks.selection import Group, PinnedVersion, delta_groups, full_groups
from connectors.sinks.shaping import Shape
from connectors.sinks.stages import Stages
from connectors.storage.access import S3Access
from connectors.storage.duck import BATCH_ROWS, DuckLimits
from schemas.errors import FatalError, MusterError, UserError
from schemas.export_shape import delta_not_supported
from schemas.ids import JobId
from schemas.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    TARGET_BYTES,
    DeltaBase,
    ExportFormat,
    Manifest,
    ManifestFile,
)
from schemas.manifest_selection import Account

MIN_ROW_GROUP_ROWS: Final = 1_000
MAX_ROW_GROUP_ROWS: Final = 1_048_576
"""DuckDB and Parquet writers use 122,880 to a million; a row group is held in memory."""
ID_SHOWN: Final = 10
"""Characters of the id in a file name: the end of a ULID is random, 50 bits."""

RowsListener = Callable[[int], None]
"""Called with the number of rows written so far."""


def file_stem(audience: str, version: int, export_id: JobId) -> str:
    """Stem of the names of an export's files, unique to it."""
    return f"{audience}-v{version}-{export_id[-ID_SHOWN:]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOrder:
    """The requested export: a version, or its difference from `base`, in files of about `target_bytes`.

    `shape` (None: all rows and columns) selects from the version. `row_group_rows` are the rows of a Parquet row group.
    Raises `UserError` NOT_IN_A_DELTA, BAD_FORMAT.
    """

    export_id: JobId
    tenant: str
    audience: str
    version: PinnedVersion
    format: ExportFormat
    created_at: str
    base: PinnedVersion | None = None
    target_bytes: int = TARGET_BYTES
    shape: Shape | None = None
    row_group_rows: int | None = None

    def __post_init__(self) -> None:
        rows = self.row_group_rows
        if rows is not None and self.format.format != "parquet":
            raise UserError("BAD_FORMAT", "row groups apply only to Parquet")
        if rows is not None and not MIN_ROW_GROUP_ROWS <= rows <= MAX_ROW_GROUP_ROWS:
            raise UserError(
                "BAD_FORMAT", f"a row group has {MIN_ROW_GROUP_ROWS} to {MAX_ROW_GROUP_ROWS} rows, not {rows}"
            )
        if self.shape is not None and self.shape.version != self.version:
            raise ValueError("the shape belongs to another version")
        if self.shape is not None and self.base is not None and (self.shape.suppress or self.shape.attributes):
            raise delta_not_supported()

    @property
    def effective_shape(self) -> Shape:
        """The selection from the version."""
        return self.shape if self.shape is not None else Shape(version=self.version)

    @property
    def batch_rows(self) -> int | None:
        """Rows written at a time; None: as they arrive. Filtered batches are regrouped, since few rows may remain."""
        chosen = self.effective_shape.selects or bool(self.effective_shape.partition_by)
        return BATCH_ROWS if self.row_group_rows is None and chosen else self.row_group_rows

    @property
    def stem(self) -> str:
        """Stem of the file names, unique to this export."""
        return file_stem(self.audience, self.version.info.version, self.export_id)

    def bytes_of(self, group: Group) -> int:
        """Bytes of all files read for a group."""
        return group.bytes + self.effective_shape.lookup_bytes(group)

    def groups(self) -> list[Group]:
        """The files to read, in groups; the same order yields the same groups. Raises `UserError` SCHEMA_MISMATCH."""
        if self.base is not None:
            return delta_groups(self.version, self.base, group_bytes=self.target_bytes)
        return full_groups(self.version, group_bytes=self.target_bytes)


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
        closing(selected_rows(shape, group, s3=s3, limits=limits, accounts=accounts, stages=stages)) as found,
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
    if (fault := manifest.fault()) is not None:
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
    accounts = [account for group in groups for account in group.accounts]
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
        delta=None if order.base is None else DeltaBase(version=order.base.info.version, digest=order.base.info.digest),
        selection=shape.manifest_selection(accounts, delta=order.base is not None),
        partition_by=shape.partition_by,
    )


def _exists(to: Destination) -> UserError:
    return UserError(
        "DESTINATION_EXISTS",
        f"{to.uri(MANIFEST_NAME)} already exists: exports are never overwritten; choose another destination",
        destination=to.uri(MANIFEST_NAME),
    )
