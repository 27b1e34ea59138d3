"""What the parent tells the parsing child: the job, its limits, and the words for progress and summary."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Self, cast

from connectors.sources.compression import Compression
from schemas.columns import FileFormat, ImportSpec

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseLimits:
    """What one untrusted file may cost.

    `memory_bytes`: address space of the child (RLIMIT_AS). `cpu_s` plus `cpu_s_per_mib` for each MiB of the file as it
    is stored: processor time (RLIMIT_CPU). `wall_s`: longest time without a sign of life from the child while it has
    bytes to work on; the reader's own pauses and those of the store do not count. `max_decoded_bytes`: bytes after
    decompression; `max_ratio`: how many times larger they may be than the file, beyond the first 64 MiB.
    `max_file_bytes`: largest Parquet file that is copied to local disk.
    """

    memory_bytes: int = 4096 * MIB
    cpu_s: float = 120.0
    cpu_s_per_mib: float = 1.0
    wall_s: float = 120.0
    max_decoded_bytes: int = 256 * 1024 * MIB
    max_ratio: float = 250.0
    max_file_bytes: int = 64 * 1024 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseProgress:
    """How far the child is. `source_size` is None where it is not known."""

    source_bytes: int
    source_size: int | None
    rows: int
    rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseSummary:
    """The whole file: rows = accepted + rejected. `source_bytes` as stored, `decoded_bytes` after decompression."""

    rows: int
    accepted: int
    rejected: int
    rejected_by_code: Mapping[str, int] = field(default_factory=dict)
    source_bytes: int
    decoded_bytes: int
    format: FileFormat
    compression: Compression

    def as_record(self) -> dict[str, object]:
        """Plain JSON data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseJob:
    """One run of the child."""

    spec: ImportSpec
    limits: ParseLimits
    format: FileFormat
    compression: Compression
    parent_pid: int
    source_size: int
    choose: bool = False
    """Whether the child chooses the columns of the spec, and says so in a LAYOUT frame."""

    def as_record(self) -> dict[str, object]:
        """Plain JSON data."""
        return {
            "spec": self.spec.as_record(),
            "limits": asdict(self.limits),
            "format": self.format,
            "compression": self.compression,
            "parent_pid": self.parent_pid,
            "source_size": self.source_size,
            "choose": self.choose,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Self:
        """Inverse of `as_record`."""
        values = dict(record)
        spec = ImportSpec.from_record(cast("dict[str, object]", values.pop("spec")))
        limits = ParseLimits(**cast("dict[str, float]", values.pop("limits")))  # type: ignore[arg-type]  # own JSON
        return cls(spec=spec, limits=limits, **values)  # type: ignore[arg-type]  # own JSON
