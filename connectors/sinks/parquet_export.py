"""Export one version as Parquet, in the simple form: one object sorted by user id."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from connectors.lake.audience_sql import rows_sql
from connectors.lake.faults import lake_faults
from connectors.lake.parts import file_sha256, write_rows
from connectors.sinks.addresses import s3_object
from connectors.sinks.refusals import destination_exists, room_for_scratch
from connectors.sinks.s3_faults import Location, destination_faults
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, batches, connect
from connectors.storage.writing import put_file, put_if_absent
from schemas.columns import USER_ID
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.layout import s3_uri
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
    """Write the members of a version to `s3://bucket/key`.

    The digest of the written rows is compared with the version's before the object is put. Raises `UserError`
    DESTINATION_EXISTS, DESTINATION_NOT_WRITABLE, BAD_URI; `FatalError` EXPORT_MISMATCH; `RetriableError`
    LAKE_UNAVAILABLE, DESTINATION_UNAVAILABLE, SCRATCH_FULL.
    """
    bucket, key = s3_object(destination)
    limits.temp_directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=limits.temp_directory) as scratch:
        path = Path(scratch) / "export.parquet"
        exported = _write(version, files, path, Path(scratch), s3, limits)
        put_object(s3, path, bucket, key, overwrite=overwrite)
    return replace(exported, uri=destination)


def _write(
    version: VersionInfo,
    files: Sequence[Part],
    path: Path,
    scratch: Path,
    s3: S3Access,
    limits: DuckLimits,
) -> ExportedFile:
    query = f"{rows_sql([part.uri for part in files], version.row_schema)} ORDER BY {USER_ID}"
    own = replace(limits, temp_directory=scratch / "duckdb")
    with lake_faults("exporting"), connect(own, s3) as connection, room_for_scratch(limits.temp_directory):
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


def put_object(s3: S3Access, path: Path, bucket: str, key: str, *, overwrite: bool) -> None:
    """Put a file. Raises `UserError` DESTINATION_EXISTS, DESTINATION_NOT_WRITABLE; `RetriableError` as S3 does."""
    with destination_faults(Location(bucket=bucket, prefix=key)):
        if overwrite:
            put_file(s3.client(), bucket, key, path)
        elif not put_if_absent(s3.client(), bucket, key, path):
            raise destination_exists(s3_uri(bucket, key))
