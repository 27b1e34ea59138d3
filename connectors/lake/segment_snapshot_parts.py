"""Builds the parts of a version from the members in a consistent snapshot (cut), partition by partition."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from connectors.lake.parts import read_part, store_part, write_rows
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId
from segmentation.segment_snapshots import SNAPSHOT_ROWS
from segmentation.versions import Part


def snapshot_parts(
    snapshots: Iterable[Part], *, import_id: JobId, attempt: Attempt, s3: S3Access, limits: DuckLimits, data_prefix: str
) -> tuple[Part, ...]:
    """Copy the members to files of the lake; `snapshots` are the announced files in the staging bucket.

    Stored below `data_prefix` under content-addressed names, so a repeated build writes nothing twice. Order and
    partition are checked when the parts are published. Memory: one batch.

    Raises `FatalError` PART_MISMATCH if the digest of a file is not the announced one, LAKE_FILE_MISSING,
    LAKE_UNREADABLE; `RetriableError`.
    """
    parts = []
    limits.temp_directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=limits.temp_directory) as scratch:
        for snapshot in snapshots:
            path = Path(scratch) / "part.parquet"
            digest = write_rows(read_part(s3, snapshot, SNAPSHOT_ROWS), SNAPSHOT_ROWS, path)
            if digest != snapshot.digest:
                raise FatalError(
                    "PART_MISMATCH",
                    f"snapshot part {snapshot.uri} (partition {snapshot.partition}): digest {digest}, but "
                    f"{snapshot.digest} was announced",
                    part=snapshot.uri,
                    partition=snapshot.partition,
                )
            parts.append(
                store_part(
                    s3,
                    path,
                    digest,
                    data_prefix=data_prefix,
                    import_id=import_id,
                    attempt=attempt,
                    partition=snapshot.partition,
                )
            )
    return tuple(parts)
