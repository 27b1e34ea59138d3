"""An export: sorted files, then the manifest that makes them one.

1. A destination that has an export already is refused, before anything is read.
2. Every selection is read through DuckDB, hashed, and written as files whose names begin with the export's own.
3. The digests of all files must come to that of the version (of the base, less what was removed, plus what was added).
4. The manifest is written, unless there is one.
An export that dies and is repeated under its id writes the same bytes under the same names. One that fails takes its
files back: they are no other export's, because of the id.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from connectors.lake.access import S3Access
from connectors.lake.duck import batches, connect
from connectors.lake.faults import lake_faults
from connectors.lake.limits import DuckLimits
from connectors.sinks.destinations import Destination
from connectors.sinks.export_files import write_files
from connectors.sinks.selection import PinnedVersion, Selection, delta, whole
from schemas.errors import FatalError, MusterError, UserError
from schemas.ids import JobId
from schemas.manifest import MANIFEST_NAME, DeltaBase, ExportFormat, Manifest, ManifestFile

TARGET_BYTES: Final = 256 * 1024 * 1024
ID_SHOWN: Final = 10
"""Characters of the id in a file's name: the end of a ULID is random, 50 bits."""

RowsListener = Callable[[int], None]
"""Told the rows that have been written so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOrder:
    """What is wanted: a version, or its difference from `base`, in files of about `target_bytes`."""

    export_id: JobId
    tenant: str
    audience: str
    version: PinnedVersion
    format: ExportFormat
    created_at: str
    base: PinnedVersion | None = None
    target_bytes: int = TARGET_BYTES

    @property
    def stem(self) -> str:
        """Start of the files' names, this export's own."""
        return f"{self.audience}-v{self.version.info.version}-{self.export_id[-ID_SHOWN:]}"

    def selections(self) -> list[Selection]:
        """The rows that are wanted. Raises `UserError` SCHEMA_MISMATCH."""
        if self.base is not None:
            return delta(self.version, self.base)
        return whole(self.version, group_bytes=self.target_bytes)


def export(
    order: ExportOrder,
    to: Destination,
    *,
    s3: S3Access,
    limits: DuckLimits,
    on_rows: RowsListener = lambda _: None,
) -> Manifest:
    """Write an export and return its manifest.

    Raises `UserError` DESTINATION_EXISTS, DESTINATION_NOT_WRITABLE, SCHEMA_MISMATCH, FORMULA_FOUND, NULL_TOKEN_TAKEN;
    `FatalError` EXPORT_MISMATCH; `RetriableError` LAKE_UNAVAILABLE.
    """
    if to.taken():  # step 1
        raise _exists(to)
    selections = order.selections()
    written: list[ManifestFile] = []
    try:
        found = _write(order, selections, to, written, s3=s3, limits=limits, on_rows=on_rows)  # step 2
        manifest = _manifest(order, tuple(written), found)
        if (fault := manifest.fault()) is not None:  # step 3
            raise FatalError(
                "EXPORT_MISMATCH", f"version {manifest.version} was not exported: {fault}", version=manifest.version
            )
        if not to.put_manifest(manifest.encode()):  # step 4
            raise _exists(to)
    except MusterError as exc:
        if exc.kind != "retriable":  # else a repeat will want them
            _take_back(to, written)
        raise
    return manifest


def _write(
    order: ExportOrder,
    selections: list[Selection],
    to: Destination,
    written: list[ManifestFile],
    *,
    s3: S3Access,
    limits: DuckLimits,
    on_rows: RowsListener,
) -> int:
    """Write all files; returns how many texts look like formulas."""
    rows = formulas = 0
    with to.scratch(limits.temp_directory) as scratch, lake_faults("exporting"):
        for number, selection in enumerate(selections):
            kind = f"-{selection.change}" if selection.change else ""
            with connect(replace(limits, temp_directory=limits.temp_directory / "export"), s3) as connection:
                for file in write_files(
                    batches(connection, selection.sql),
                    order.version.info.row_schema,
                    order.format,
                    scratch,
                    stem=f"{order.stem}{kind}-{number:05d}",
                    target_bytes=order.target_bytes,
                    change=selection.change,
                ):
                    to.put(file.path, file.entry.key)
                    written.append(file.entry)
                    rows, formulas = rows + file.entry.rows, formulas + file.formulas
                    on_rows(rows)
    return formulas


def _manifest(order: ExportOrder, files: tuple[ManifestFile, ...], formulas: int) -> Manifest:
    info = order.version.info
    return Manifest(
        export=order.export_id,
        tenant=order.tenant,
        audience=order.audience,
        version=info.version,
        snapshot_id=info.snapshot_id,
        created_at=order.created_at,
        format=order.format,
        schema=info.row_schema,
        members=info.members,
        digest=info.digest,
        files=files,
        formulas_found=formulas,
        delta=None if order.base is None else DeltaBase(version=order.base.info.version, digest=order.base.info.digest),
    )


def _take_back(to: Destination, written: list[ManifestFile]) -> None:
    for file in written:
        with suppress(MusterError, OSError):
            to.remove(file.key)


def _exists(to: Destination) -> UserError:
    return UserError(
        "DESTINATION_EXISTS",
        f"{to.uri(MANIFEST_NAME)} exists: an export is never replaced; choose another place",
        destination=to.uri(MANIFEST_NAME),
    )
