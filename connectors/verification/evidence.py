"""What verification saw in a file, per partition: the evidence that the import is later compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.digest import Digest
from schemas.errors import FatalError


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Counts and digests from one pass over a file.

    rows = accepted + rejected; the digests of the partitions count the accepted rows, including duplicates.
    `source_bytes` are the bytes of the object, `decoded_bytes` those after decompression. Numbers that do not add up
    raise `FatalError` EVIDENCE_INCONSISTENT.
    """

    rows: int
    accepted: int
    rejected: int
    rejected_by_code: Mapping[str, int] = field(default_factory=dict)
    partitions: tuple[Digest, ...]
    source_bytes: int
    decoded_bytes: int
    schema_id: str

    def __post_init__(self) -> None:
        if self.rows != self.accepted + self.rejected:
            raise _inconsistent(f"{self.rows} rows are not {self.accepted} accepted and {self.rejected} rejected")
        if sum(self.rejected_by_code.values()) != self.rejected:
            raise _inconsistent(f"{self.rejected} rejects are not {dict(self.rejected_by_code)}")
        if self.digest.count != self.accepted:
            raise _inconsistent(f"the partitions hold {self.digest.count} rows, not {self.accepted}")

    @property
    def digest(self) -> Digest:
        """Digest of all accepted rows."""
        return Digest.total(self.schema_id, self.partitions)


def _inconsistent(why: str) -> FatalError:
    return FatalError("EVIDENCE_INCONSISTENT", f"the evidence does not add up: {why}")
