"""The members of a segment in one partition, from the file that its worker has written for a cut."""

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.storage.access import S3Access
from schemas.errors import FatalError, RetriableError
from schemas.layout import split_s3_uri

ROWS: Final = 10_000


def members_of(s3: S3Access, part: str | None) -> Iterator[str]:
    """User ids in the order of the file. `part`: s3://bucket/key; None if there are none.

    Raises `FatalError` CUT_FILE_MISSING; `RetriableError` S3_UNAVAILABLE.
    """
    if part is None:
        return
    try:
        with s3.filesystem().open_input_file("/".join(split_s3_uri(part))) as file:
            for batch in pq.ParquetFile(file).iter_batches(ROWS, columns=["user_id"]):
                yield from batch.column(0).to_pylist()
    except FileNotFoundError as exc:
        raise FatalError("CUT_FILE_MISSING", f"{part} is not there any more", part=part) from exc
    except (OSError, pa.ArrowException) as exc:
        raise RetriableError("S3_UNAVAILABLE", f"reading {part}: {exc}"[:500], part=part) from exc
