"""The distinct users of a large file of the archive, in a small file beside it.

A rule that is true for users without matching activity needs all known users of a tenant. In a large file, nineteen of
twenty rows belong to users whom it already contains.

A file name is never reused, so the list beside a file stays valid forever, whatever happens to the table: readers that
find it may read it instead, and others read the rows. The list is deleted after its file.
"""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.lake.archive_compaction import AT_ONCE_BYTES, SMALL_BYTES
from connectors.lake.archive_reading import archived_rows
from connectors.lake.archive_tables import ArchivedFile, ArchiveTables, live_files
from connectors.lake.faults import lake_faults
from connectors.storage.access import S3Access
from connectors.storage.listing import list_objects
from connectors.storage.writing import put_file
from schemas.activity import EVENT_ROWS
from schemas.columns import USER_ID
from schemas.errors import FatalError
from schemas.ids import Partition, TenantName
from schemas.layout import archived_users_prefix, s3_uri
from segmentation.archiving import ROW_GROUP_ROWS, ZSTD_LEVEL

LARGE_BYTES: Final = SMALL_BYTES[-1]
"""Files that compaction does not touch again."""
_USERS: Final = pa.schema([EVENT_ROWS.field(USER_ID)])
_FILE_KEY: Final = b"muster.users-of"
"""Metadata of a list: the key of its file. Lists from earlier versions have none."""


def with_user_lists(
    s3: S3Access,
    bucket: str,
    topic: str,
    files: Iterable[ArchivedFile],
    *,
    tenant: TenantName | None = None,
    partition: Partition | None = None,
) -> list[ArchivedFile]:
    """The same files [of a tenant, in a partition], with the URIs of their lists of users."""
    list_partition = None if tenant is None else partition
    existing = {
        entry.key for entry in list_objects(s3.client(), bucket, archived_users_prefix(topic, tenant, list_partition))
    }
    return [
        replace(file, users=s3_uri(bucket, key)) if (key := file.key.users_key) in existing else file for file in files
    ]


def write_users(tables: ArchiveTables, s3: S3Access, topic: str, *, temp_directory: Path) -> int:
    """Write the users of large files without a list, up to `AT_ONCE_BYTES` of files; returns the number of files.

    Unreadable files are skipped; if nothing could be written, raises `FatalError` LAKE_MISMATCH if the rows of a file
    do not match the table, LAKE_FILE_MISSING, LAKE_UNREADABLE; `RetriableError` LAKE_UNAVAILABLE.
    """
    with lake_faults(f"looking for files of {topic} without a list of their users"):
        large = [file for file, _ in live_files(tables.find(topic)) if file.bytes >= LARGE_BYTES]
        waiting = (
            [file for file in with_user_lists(s3, tables.bucket, topic, large) if file.users is None] if large else []
        )
    written: list[ArchivedFile] = []
    fault: FatalError | None = None
    temp_directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=temp_directory) as scratch, lake_faults(f"writing users of {topic}"):
        for file in waiting:
            if sum(one.bytes for one in written) >= AT_ONCE_BYTES:
                break
            try:
                _write(s3, tables.bucket, file, Path(scratch) / "users.parquet")
                written.append(file)
            except FatalError as exc:
                fault = fault or exc
    if fault is not None and not written:
        raise fault
    return len(written)


def users_fault(s3: S3Access, file: ArchivedFile, *, deep: bool) -> str | None:
    """Why the list beside a file does not match its users. None if it does. `deep`: compare it with the file's rows.

    Raises `FatalError` LAKE_FILE_MISSING, LAKE_UNREADABLE if the file cannot be read; `RetriableError`
    LAKE_UNAVAILABLE.
    """
    assert file.users is not None  # noqa: S101  # the caller has found it
    try:
        with lake_faults(f"reading {file.users}"):
            content = s3.filesystem().open_input_file(file.users.removeprefix("s3://")).read_buffer()
    except FatalError:
        return None  # upkeep removes lists too
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as parquet:
            if (fault := _footer_fault(parquet, file)) is not None:
                return fault
            listed = parquet.read().column(USER_ID).combine_chunks()
    except (pa.ArrowException, OSError) as exc:
        return f"it cannot be read: {type(exc).__name__}: {exc}"[:500]
    if not deep:
        return None
    users = _distinct([batch.column(USER_ID).unique() for batch in archived_rows(s3, file, _USERS)])
    extra, missing = _count_unknown(listed, users), _count_unknown(users, listed)
    if extra or missing or len(listed) != len(users):
        return f"it has {len(listed)} users, {extra} of them not in the file, and lacks {missing} of {len(users)}"
    return None


def _footer_fault(parquet: pq.ParquetFile, file: ArchivedFile) -> str | None:
    schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
    owner_key = (schema.metadata or {}).get(_FILE_KEY, str(file.key).encode()).decode(errors="replace")
    if owner_key != str(file.key):
        return f"it belongs to {owner_key}"
    if not schema.equals(_USERS):
        return f"its columns are {schema.names}"
    return None if 0 < rows <= file.rows else f"it has {rows} users, the file {file.rows} rows"


def _count_unknown(users: pa.Array, known: pa.Array) -> int:
    return len(users.filter(pc.invert(pc.is_in(users, known))))


def _write(s3: S3Access, bucket: str, file: ArchivedFile, path: Path) -> None:
    users: list[pa.Array] = []
    rows = 0
    for batch in archived_rows(s3, file, _USERS):
        rows += batch.num_rows
        users.append(batch.column(USER_ID).unique())
    if rows != file.rows:
        raise FatalError("LAKE_MISMATCH", f"{file.uri} has {rows} rows, but the table lists {file.rows}")
    pq.write_table(
        pa.table([_distinct(users)], schema=_USERS.with_metadata({_FILE_KEY: str(file.key)})),
        path,
        row_group_size=ROW_GROUP_ROWS,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=False,
    )
    put_file(s3.client(), bucket, file.key.users_key, path)


def _distinct(users: Sequence[pa.Array]) -> pa.Array:
    return pa.chunked_array(users, type=_USERS.field(USER_ID).type).unique()
