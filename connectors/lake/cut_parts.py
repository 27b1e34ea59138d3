"""Parts of a version from the members that a cut has written down, partition by partition."""

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


def parts_of_cut(
    cuts: Iterable[Part], *, import_id: JobId, attempt: Attempt, s3: S3Access, limits: DuckLimits, data_prefix: str
) -> tuple[Part, ...]:
    """The same members, in files of the lake; `cuts` are the files of the staging bucket, with what was said of them.

    Stored below `data_prefix` under content-addressed names, so a repeated build writes nothing twice. Order and
    partition are checked by whoever publishes the parts. Memory: a batch.

    Raises `FatalError` PART_MISMATCH where a file is not what was said of it, LAKE_FILE_MISSING, LAKE_UNREADABLE;
    `RetriableError`.
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
                    f"cut {cut.uri} (partition {cut.partition}): digest {digest}, {cut.digest} was announced",
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
