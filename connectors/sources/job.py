"""Messages between the parent and the parsing child: the job with its limits, progress and summary."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.sources.compression import Compression
from connectors.sources.limits import ParseLimits
from connectors.sources.ranges import FileRange, RangeRead
from schemas.chunk_rule import ChunkCounts
from schemas.import_formats import ImportFormat
from schemas.import_spec import ImportSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseProgress:
    """Progress of the child. `source_size` is None if unknown."""

    source_bytes: int
    source_size: int | None
    rows: int
    rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseSummary:
    """Totals of the file: rows = accepted + rejected. `source_bytes` as stored, `decoded_bytes` after decompression."""

    rows: int
    accepted: int
    rejected: int
    rejected_by_code: Mapping[str, int] = field(default_factory=dict)
    source_bytes: int
    decoded_bytes: int
    format: ImportFormat
    compression: Compression
    lacking: tuple[str, ...] | None = None
    """Needed columns that no row has, of a JSON Lines file with rows that is one of several."""
    part: RangeRead | None = None
    """What was read, of a range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseJob:
    """One run of the child."""

    spec: ImportSpec
    limits: ParseLimits
    format: ImportFormat
    compression: Compression
    source_size: int
    received_at_us: int
    """Time the file was written (microseconds since 1970 UTC); its events must not be far ahead of it."""
    choose: bool = False
    """True if the child chooses or completes the columns of the spec, and reports them in a LAYOUT frame."""
    one_of_several: bool = False
    """True if the file is one of a set, of which other files may have the rows and members that it lacks."""
    partitions: int | None = None
    """Number of partitions the child digests the rows into, to send only digests; None to send the rows."""
    chunks: ChunkCounts | None = None
    """Chunks of the rows before the file, if the child also counts those that its rows will be cut into."""
    part: FileRange | None = None
    """The range that is read, if it is not the whole file. `source_size` is then what may be read for it."""
    groups: tuple[int, int] | None = None
    """Of Parquet, the row groups that are read, from the first to the second (exclusive); None for all."""
    footer: bool = False
    """True if the child is only to list the row groups of a Parquet file."""
