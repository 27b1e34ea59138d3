"""Formats of the files that imports read: a row each. The reader of each is a module of `connectors.sources`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from schemas.columns import ColumnType
from schemas.errors import UserError

ImportFormat = Literal["csv", "jsonl", "parquet", "avro"]

COMPRESSED_SUFFIXES: Final = (".gz", ".gzip", ".zst", ".zstd")
"""Suffixes that follow the format's own suffix in names of compressed files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatTraits:
    """How files of one format differ from others.

    `suffixes`: of names, in lower case. `magic`: first bytes of a binary format, which declares names and types of its
    columns, compresses them internally, and is read at any position; empty for text, which may be compressed as a
    whole. `has_header`: whether the columns are known before the first row. `untyped`: every value is text, even the
    first line of a file that lacks its header. `text_types`: types that the texts of a column may stand for; the first
    with the fewest misfits is suggested.
    """

    label: str
    suffixes: tuple[str, ...]
    magic: bytes = b""
    has_header: bool = True
    untyped: bool = False
    text_types: tuple[ColumnType, ...] = ("long", "double", "boolean", "date", "timestamp")

    @property
    def is_binary(self) -> bool:
        """Whether files are anything but text."""
        return bool(self.magic)

    @property
    def a_file(self) -> str:
        """A file of this format, for messages."""
        return f"{'an' if self.label[0] in 'AEIOU' else 'a'} {self.label} file"


IMPORT_FORMATS: Final[Mapping[ImportFormat, FormatTraits]] = {
    "csv": FormatTraits(label="CSV", suffixes=(".csv",), untyped=True),
    "jsonl": FormatTraits(
        label="JSON Lines",
        suffixes=(".jsonl", ".ndjson", ".json"),
        has_header=False,
        text_types=("date", "timestamp"),  # numbers and booleans have JSON types of their own
    ),
    "parquet": FormatTraits(label="Parquet", suffixes=(".parquet", ".pq"), magic=b"PAR1"),
    "avro": FormatTraits(label="Avro", suffixes=(".avro",), magic=b"Obj\x01"),
}
FALLBACK: Final[ImportFormat] = "csv"
"""The format of a file whose content and name tell no other."""
BINARY_MAGIC_BYTES: Final = max(len(traits.magic) for traits in IMPORT_FORMATS.values())

NOT_READ: Final = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ\x00": "xz data",
    b"7z\xbc\xaf": "a 7z archive",
    b"%PDF": "a PDF",
    b"ORC": "an ORC file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
}
"""Files that are recognised by their first bytes and refused."""


def binary_format(start: bytes | bytearray) -> ImportFormat | None:
    """The binary format of a file that begins with `start` (`BINARY_MAGIC_BYTES` or all of it); None for others."""
    found = (name for name, traits in IMPORT_FORMATS.items() if traits.is_binary and start.startswith(traits.magic))
    return next(found, None)


def formats_read() -> str:
    """The formats in words, for messages."""
    text, binary = (
        " and ".join(traits.label for traits in IMPORT_FORMATS.values() if traits.is_binary is is_binary)
        for is_binary in (False, True)
    )
    return f"{text} (plain, gzip or Zstandard) and {binary}"


def mixed_formats(first: str, format_: ImportFormat, other: str, found: ImportFormat) -> UserError:
    """The error for two files of a set that have other formats."""
    labels = IMPORT_FORMATS[format_].label, IMPORT_FORMATS[found].label
    return UserError(
        "MIXED_FORMATS",
        f"{first} is {labels[0]}, and {other} is {labels[1]}: the files of one import have one format",
        files=[first, other],
        formats=[format_, found],
    )


def may_be_cut(name: str, wanted: ImportFormat | None) -> bool:
    """Whether one file may be read in ranges, as far as its name says; `wanted`: see `detect`."""
    compressed = name.lower().endswith(COMPRESSED_SUFFIXES)
    return not compressed and (wanted or named_format(name) or FALLBACK) != "avro"


def named_format(name: str) -> ImportFormat | None:
    """The format that the suffix of a name says, if it says one."""
    stem = name.lower()
    for suffix in COMPRESSED_SUFFIXES:
        stem = stem.removesuffix(suffix)
    return next((one for one, traits in IMPORT_FORMATS.items() if stem.endswith(traits.suffixes)), None)
