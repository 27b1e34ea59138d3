"""Format and compression of a file: compression and Parquet by content, JSON Lines by name, CSV otherwise."""

from typing import Final

from connectors.sources.compression import Compression, sniff
from schemas.columns import FileFormat
from schemas.errors import UserError

PARQUET_MAGIC: Final = b"PAR1"
JSONL_NAMES: Final = (".jsonl", ".ndjson", ".json")
PARQUET_NAMES: Final = (".parquet", ".pq")
COMPRESSED_NAMES: Final = (".gz", ".gzip", ".zst", ".zstd")
UNSUPPORTED_MAGIC: Final = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ\x00": "xz data",
    b"7z\xbc\xaf": "a 7z archive",
    b"%PDF": "a PDF",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
}
FORMATS_READ: Final = "CSV and JSON Lines (plain, gzip or Zstandard) and Parquet"


def detect(name: str, start: bytes, wanted: FileFormat | None) -> tuple[FileFormat, Compression]:
    """Format and compression of a file called `name` that begins with `start` (`MAGIC_BYTES` bytes or the whole file).

    `wanted` overrides the name, not the content. Raises `UserError` UNKNOWN_FORMAT, CORRUPT_FILE, EMPTY_FILE.
    """
    if not start:
        raise UserError("EMPTY_FILE", "the file is empty")
    compression = sniff(start)
    for magic, what in UNSUPPORTED_MAGIC.items():
        if start.startswith(magic) and (magic != b"ORC" or start[3:4] < b"\x20"):
            raise UserError("UNKNOWN_FORMAT", f"the file is {what}; supported are {FORMATS_READ}", found=what)
    stem = name.lower()
    for suffix in COMPRESSED_NAMES:
        stem = stem.removesuffix(suffix)
    format_: FileFormat
    if wanted is not None:
        format_ = wanted
    elif start.startswith(PARQUET_MAGIC) or stem.endswith(PARQUET_NAMES):
        format_ = "parquet"
    else:
        format_ = "jsonl" if stem.endswith(JSONL_NAMES) else "csv"
    if format_ == "parquet":
        if compression != "none":
            raise UserError(
                "UNKNOWN_FORMAT", "a Parquet file is compressed internally: upload it without gzip or Zstandard"
            )
        if not start.startswith(PARQUET_MAGIC):
            raise UserError("CORRUPT_FILE", "the file is not Parquet: it does not begin with PAR1")
    elif start.startswith(PARQUET_MAGIC):
        raise UserError("UNKNOWN_FORMAT", f"the file is Parquet, not {format_}", found="parquet")
    return format_, compression
