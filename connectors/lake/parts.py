"""Parts: sorted zstd Parquet files under content-addressed names, written once and verified by reading before use."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.lake.faults import lake_faults
from connectors.lake.row_groups import batches_of, open_parquet
from connectors.storage.access import S3Access
from connectors.storage.writing import put_if_absent
from schemas.arrow import arrow_schema
from schemas.columns import RowSchema
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId, Partition
from schemas.layout import part_name, split_s3_uri
from schemas.row_digest import digest_rows
from segmentation.versions import Part

BATCH_ROWS: Final = 131_072
ROW_GROUP_ROWS: Final = 8 * BATCH_ROWS
ZSTD_LEVEL: Final = 3


def read_part(s3: S3Access, part: Part, schema: RowSchema) -> Iterator[pa.RecordBatch]:
    """The rows of a part, in batches with exactly the columns of `schema`.

    Raises `FatalError` PART_MISMATCH if the columns differ, LAKE_FILE_MISSING, LAKE_UNREADABLE; `RetriableError`.
    """
    with lake_faults(f"reading part {part.uri}"), open_parquet(s3, part.uri) as file:
        yield from conform(file, part.uri, schema)


def conform(file: pq.ParquetFile, name: str, schema: RowSchema) -> Iterator[pa.RecordBatch]:
    """Batches of a Parquet file in the types of `schema`. Raises `FatalError` PART_MISMATCH if the columns differ."""
    names = file.schema_arrow.names
    if sorted(names) != sorted(schema.names):
        raise FatalError(
            "PART_MISMATCH", f"part {name} has columns {names}, not {list(schema.names)}", part=name, columns=names
        )
    for batch in batches_of(file, BATCH_ROWS):
        yield batch.select(list(schema.names)).cast(nullable(schema))


def nullable(schema: RowSchema) -> pa.Schema:
    """Arrow schema of the rows with every field nullable, since engines do not preserve nullability."""
    return pa.schema([field.with_nullable(True) for field in arrow_schema(schema)])  # noqa: FBT003


def write_rows(batches: Iterable[pa.RecordBatch], schema: RowSchema, path: Path) -> Digest:
    """Write batches (sorted by the caller) as one zstd Parquet file; returns the digest of the written rows."""
    digest = Digest(schema_id=schema.schema_id)
    target = arrow_schema(schema)
    with pq.ParquetWriter(path, target, compression="zstd", compression_level=ZSTD_LEVEL) as writer:
        for batch in batches:
            rows = batch.cast(target)
            digest += digest_rows(rows, schema)
            writer.write_batch(rows, row_group_size=ROW_GROUP_ROWS)
    return digest


def store_part(
    s3: S3Access,
    path: Path,
    digest: Digest,
    *,
    data_prefix: str,
    import_id: JobId,
    attempt: Attempt,
    partition: Partition | None,
) -> Part:
    """Store a local Parquet file under its content-addressed name below `data_prefix` (an S3 URI ending in a slash).

    Storing the same bytes again is no error. Raises `RetriableError` LAKE_UNAVAILABLE.
    """
    name = part_name(import_id, attempt, partition if partition is not None else Partition(0), file_sha256(path)[:32])
    uri = data_prefix + name
    with lake_faults(f"writing part {uri}"):
        put_if_absent(s3.client(), *split_s3_uri(uri), path)
    return Part(uri=uri, rows=digest.count, bytes=path.stat().st_size, digest=digest, partition=partition)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
