"""The work: files, as far as verification or a guess knows them."""

from dataclasses import dataclass

from orchestration.quoting.rates import Rates
from schemas.columns import ImportKind, ImportMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One import.

    `bytes`: size of the stored files, `files` of about one size; `cut`: whether a large one is read in ranges.
    `base_members`: of the version that an append or a remove is merged with.
    `members`: of the published version; None means at most as many as base and rows allow. `copied`: whether the file
    is copied to the local disk to be read (Parquet, Avro).
    """

    rows: int
    bytes: int
    kind: ImportKind = "audience"
    mode: ImportMode = "replace"
    base_members: int = 0
    members: int | None = None
    copied: bool = False
    files: int = 1
    cut: bool = False

    @property
    def builds(self) -> bool:
        """Whether there is a version to merge with."""
        return self.kind == "audience" and self.mode != "replace" and self.base_members > 0

    @property
    def published(self) -> int:
        """Upper bound of the members of the new version."""
        if self.members is not None:
            return self.members
        return self.rows + (self.base_members if self.builds else 0)

    def measured_rows(self, rates: Rates) -> float:
        """Rows of the measured length with the same cost: wide rows count for several, by their bytes in the file."""
        return max(float(self.rows), self.bytes / rates.file.bytes)

    def width(self, rates: Rates) -> float:
        """How many measured rows one row of this file counts for; at least 1."""
        return self.measured_rows(rates) / self.rows if self.rows else 1.0
