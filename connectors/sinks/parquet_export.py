"""Export one version as Parquet, in the simple form: one file sorted by user id, visible only once it is complete."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from connectors.lake.audience_sql import rows_sql
from connectors.lake.faults import lake_faults
from connectors.lake.parts import file_sha256, write_rows
from connectors.private_files import FILE_MODE, make_private_folder
from connectors.sinks.addresses import local_path, s3_object
from connectors.sinks.refusals import room_at_destination, room_for_scratch
from connectors.sinks.s3_faults import Location, destination_faults
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, batches, connect
from connectors.storage.writing import put_file, put_if_absent
from schemas.columns import USER_ID
from schemas.digest import Digest
from schemas.errors import FatalError, UserError
from segmentation.versions import Part, VersionInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """One exported file. `sha256` in hex over its bytes; `digest` as computed from its rows."""

    uri: str
    rows: int
    bytes: int
    sha256: str
    digest: Digest


def export_parquet(
    version: VersionInfo,
    files: Sequence[Part],
    destination: str,
    *,
    s3: S3Access,
    limits: DuckLimits,
    overwrite: bool = False,
) -> ExportedFile:
    """Write the members of a version to a local path or `s3://bucket/key`.

    The digest of the written rows is compared with the version's before anything becomes visible. Raises `UserError`
    DESTINATION_EXISTS, DESTINATION_NOT_WRITABLE, DESTINATION_FULL, BAD_URI; `FatalError` EXPORT_MISMATCH;
    `RetriableError` LAKE_UNAVAILABLE, DESTINATION_UNAVAILABLE, SCRATCH_FULL.
    """
    remote = s3_object(destination) if "://" in destination else None
    target = local_path(destination) if remote is None else Path()
    if remote is None and target.exists() and not overwrite:
        raise _exists(destination)
    limits.temp_directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=limits.temp_directory) as scratch:
        # On the file system of the destination, so that the last step is a rename or a link.
        path = Path(scratch) / "export.parquet" if remote is not None else _hidden(target)
        try:
            room = room_at_destination(target.parent) if remote is None else room_for_scratch(limits.temp_directory)
            exported = _write(version, files, path, Path(scratch), room, s3, limits)
            if remote is not None:
                _put(s3, path, destination, overwrite=overwrite)
            else:
                _reveal(path, target, overwrite=overwrite)
        finally:
            path.unlink(missing_ok=True)
    return replace(exported, uri=destination)


def _write(
    version: VersionInfo,
    files: Sequence[Part],
    path: Path,
    scratch: Path,
    room: AbstractContextManager[None],
    s3: S3Access,
    limits: DuckLimits,
) -> ExportedFile:
    query = f"{rows_sql([part.uri for part in files], version.row_schema)} ORDER BY {USER_ID}"
    with lake_faults("exporting"), connect(replace(limits, temp_directory=scratch / "duckdb"), s3) as connection, room:
        digest = write_rows(batches(connection, query), version.row_schema, path)
    if digest != version.digest:
        raise FatalError(
            "EXPORT_MISMATCH",
            f"version {version.version} has digest {version.digest}, its files gave {digest}",
            version=version.version,
            expected=str(version.digest),
            actual=str(digest),
        )
    return ExportedFile(
        uri=str(path), rows=digest.count, bytes=path.stat().st_size, sha256=file_sha256(path), digest=digest
    )


def _hidden(target: Path) -> Path:
    try:
        make_private_folder(target.parent)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    except OSError as exc:
        raise UserError("DESTINATION_NOT_WRITABLE", f"{target}: {exc.strerror}", path=str(target)) from exc
    os.close(handle)
    return Path(name)


def _reveal(path: Path, target: Path, *, overwrite: bool) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    path.chmod(FILE_MODE)
    try:
        if overwrite:
            path.replace(target)
        else:
            os.link(path, target)  # unlike a rename, it fails if the name has been taken meanwhile
    except FileExistsError as exc:
        raise _exists(str(target)) from exc
    except OSError as exc:
        raise UserError("DESTINATION_NOT_WRITABLE", f"{target}: {exc.strerror}", path=str(target)) from exc


def _put(s3: S3Access, path: Path, destination: str, *, overwrite: bool) -> None:
    bucket, key = s3_object(destination)
    with destination_faults(Location(bucket=bucket, prefix=key)):
        if overwrite:
            put_file(s3.client(), bucket, key, path)
        elif not put_if_absent(s3.client(), bucket, key, path):
            raise _exists(destination)


def _exists(destination: str) -> UserError:
    return UserError(
        "DESTINATION_EXISTS", f"{destination} exists; choose another name or overwrite it", destination=destination
    )
