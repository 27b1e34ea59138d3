"""What each file of a set had, as Parquet: written once its files were read, for receipts that page through it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.sources.file_set import FileRead
from connectors.storage.pinned import SourceFiles
from connectors.verification.rejects_file import Upload

FILE_SCHEMA: Final = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("version_id", pa.string()),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("rows", pa.int64()),
        pa.field("accepted", pa.int64()),
        pa.field("rejected", pa.int64()),
        pa.field("digest", pa.string()),
    ]
)
"""`number` from 1, in the order of the list. The counts and the digest are null for a file that was not read to its
end: the one at fault, and those behind it."""


def upload_files(files: SourceFiles, read: Sequence[FileRead], path: Path, upload: Upload) -> None:
    """Write the table of all files to `path` and upload it; `read` are the first of them."""
    rows = [
        {
            "number": number,
            "file": file.uri,
            "version_id": file.version_id,
            "etag": file.etag,
            "bytes": file.size,
            **(_counts(read[number - 1]) if number <= len(read) else {}),
        }
        for number, file in enumerate(files, 1)
    ]
    table = pa.Table.from_pylist(rows, schema=FILE_SCHEMA)
    pq.write_table(table, path, compression="zstd", compression_level=1)
    upload(path)


def _counts(read: FileRead) -> dict[str, object]:
    summary = read.summary
    counts = {"rows": summary.rows, "accepted": summary.accepted, "rejected": summary.rejected}
    return {**counts, "digest": None if read.digest is None else str(read.digest)}
