"""Builds the parts of a version from the members of a cut, partition by partition."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from connectors.lake.parts import read_part, store_part, write_rows
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from schemas.errors import FatalError
from schemas.ids import Attempt, JobId
from segmentation.cuts import CUT_ROWS
from segmentation.versions import Part


def cut_parts(
    cuts: Iterable[Part], *, import_id: JobId, attempt: Attempt, s3: S3Access, limits: DuckLimits, data_prefix: str
) -> tuple[Part, ...]:
    """Copy the members to files of the lake; `cuts` are the announced files in the staging bucket.

    Stored below `data_prefix` under content-addressed names, so a repeated build writes nothing twice. Order and
    partition are checked when the parts are published. Memory: one batch.

    Raises `FatalError` PART_MISMATCH if the digest of a file is not the announced one, LAKE_FILE_MISSING,
    LAKE_UNREADABLE; `RetriableError`.
    """
    parts = []
    limits.temp_directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=limits.temp_directory) as scratch:
        for cut in cuts:
            path = Path(scratch) / "part.parquet"
            digest = write_rows(read_part(s3, cut, CUT_ROWS), CUT_ROWS, path)
            if digest != cut.digest:
                raise FatalError(
                    "PART_MISMATCH",
                    f"cut {cut.uri} (partition {cut.partition}): digest {digest}, but {cut.digest} was announced",
                    part=cut.uri,
                    partition=cut.partition,
                )
            parts.append(
                store_part(
                    s3,
                    path,
                    digest,
                    data_prefix=data_prefix,
                    import_id=import_id,
                    attempt=attempt,
                    partition=cut.partition,
                )
            )
    return tuple(parts)
