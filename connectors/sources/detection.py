"""Format and compression of a file: compression and binary formats by content, other formats by name."""

from connectors.sources.compression import Compression, sniff
from schemas.errors import UserError
from schemas.import_formats import (
    FALLBACK,
    IMPORT_FORMATS,
    NOT_READ,
    FormatTraits,
    ImportFormat,
    binary_format,
    formats_read,
    named_format,
)


def detect(name: str, start: bytes, wanted: ImportFormat | None) -> tuple[ImportFormat, Compression]:
    """Format and compression of a file called `name` that begins with `start` (`MAGIC_BYTES` bytes or the whole file).

    `wanted` overrides the name, not the content. Raises `UserError` UNKNOWN_FORMAT, CORRUPT_FILE, EMPTY_FILE.
    """
    if not start:
        raise UserError("EMPTY_FILE", "the file is empty")
    compression = sniff(start)
    for magic, what in NOT_READ.items():
        if start.startswith(magic) and (magic != b"ORC" or start[3:4] < b"\x20"):
            raise UserError("UNKNOWN_FORMAT", f"the file is {what}; supported are {formats_read()}", found=what)
    found = binary_format(start)
    format_ = wanted or found or named_format(name) or FALLBACK
    traits = IMPORT_FORMATS[format_]
    if found not in {None, format_}:
        raise UserError("UNKNOWN_FORMAT", f"the file is {IMPORT_FORMATS[found].label}, not {format_}", found=found)
    if traits.is_binary and compression != "none":
        raise compressed_twice(traits)
    if traits.is_binary and found is None:
        magic_shown = repr(traits.magic)[2:-1]
        raise UserError("CORRUPT_FILE", f"the file is not {traits.label}: it does not begin with {magic_shown}")
    return format_, compression


def compressed_twice(traits: FormatTraits) -> UserError:
    """UNKNOWN_FORMAT for a binary file inside gzip or Zstandard."""
    return UserError("UNKNOWN_FORMAT", f"{traits.a_file} is compressed internally: upload it without gzip or Zstandard")
