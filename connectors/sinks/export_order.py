"""The order of an export: what it takes, in which groups, and which sums must come out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from connectors.sinks.selection import Group, PinnedVersion, common_schema, delta_groups, full_groups
from connectors.sinks.shaping import Shape
from connectors.sinks.views import BaseView, require_same_columns
from connectors.storage.duck import BATCH_ROWS
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.ids import JobId
from schemas.manifest import TARGET_BYTES, ExportFormat
from schemas.manifest_selection import Account, Change, DeltaBase, ManifestSelection

MIN_ROW_GROUP_ROWS: Final = 1_000
MAX_ROW_GROUP_ROWS: Final = 1_048_576
"""DuckDB and Parquet writers use 122,880 to a million; a row group is held in memory."""
ID_SHOWN: Final = 10
"""Characters of the id in a file name: the end of a ULID is random, 50 bits."""


def file_stem(audience: str, version: int, export_id: JobId) -> str:
    """Stem of the names of an export's files, unique to it."""
    return f"{audience}-v{version}-{export_id[-ID_SHOWN:]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOrder:
    """The requested export: a version, or its difference from `base`, in files of about `target_bytes`.

    `shape` (None: all rows and columns) selects from the version, `base_view` from the base (None: likewise).
    `row_group_rows` are the rows of a Parquet row group. `policy`: the number of the tenant's consent policy. Raises
    `UserError` BAD_FORMAT.
    """

    export_id: JobId
    tenant: str
    audience: str
    version: PinnedVersion
    format: ExportFormat
    created_at: str
    base: PinnedVersion | None = None
    base_view: BaseView | None = None
    policy: int | None = None
    target_bytes: int = TARGET_BYTES
    shape: Shape | None = None
    row_group_rows: int | None = None

    def __post_init__(self) -> None:
        rows = self.row_group_rows
        if rows is not None and self.format.format != "parquet":
            raise UserError("BAD_FORMAT", "row groups apply only to Parquet")
        if rows is not None and not MIN_ROW_GROUP_ROWS <= rows <= MAX_ROW_GROUP_ROWS:
            raise UserError(
                "BAD_FORMAT", f"a row group has {MIN_ROW_GROUP_ROWS} to {MAX_ROW_GROUP_ROWS} rows, not {rows}"
            )
        if self.shape is not None and self.shape.version != self.version:
            raise ValueError("the shape belongs to another version")

    @property
    def effective_shape(self) -> Shape:
        """The selection from the version."""
        return self.shape if self.shape is not None else Shape(version=self.version)

    @property
    def effective_base(self) -> BaseView | None:
        """The view that a delta starts from. None for a whole version."""
        if self.base is None or self.base_view is not None:
            return self.base_view
        return BaseView(shape=replace(self.effective_shape, version=self.base))

    @property
    def compared_view(self) -> Shape | None:
        """The view that a delta starts from, if it or the exported one is only a part of its version; else None."""
        base = self.effective_base
        return base.shape if base is not None and (self.effective_shape.selects or base.shape.selects) else None

    @property
    def batch_rows(self) -> int | None:
        """Rows written at a time; None: as they arrive. Filtered batches are regrouped, since few rows may remain."""
        shape = self.effective_shape
        chosen = shape.selects or self.compared_view is not None or bool(shape.partition_by)
        return BATCH_ROWS if self.row_group_rows is None and chosen else self.row_group_rows

    @property
    def stem(self) -> str:
        """Stem of the file names, unique to this export."""
        return file_stem(self.audience, self.version.info.version, self.export_id)

    def bytes_of(self, group: Group) -> int:
        """Bytes of all files read for a group."""
        base = self.compared_view
        looked_up = self.effective_shape.lookup_bytes(group.parts)
        return group.bytes + looked_up + (0 if base is None else base.lookup_bytes(group.base or ()))

    def groups(self) -> list[Group]:
        """The files to read, in groups; the same order yields the same groups. Raises `UserError` SCHEMA_MISMATCH."""
        if self.base is not None:
            view = self.compared_view
            if view is None:
                common_schema(self.version, self.base)
            else:
                require_same_columns(self.effective_shape, view)
            return delta_groups(self.version, self.base, group_bytes=self.target_bytes)
        return full_groups(self.version, group_bytes=self.target_bytes)

    def selection(self, accounts: Iterable[Account]) -> ManifestSelection | None:
        """The selection with the accounts of all groups. None if all rows with all their columns were taken."""
        shape, view = self.effective_shape, self.compared_view
        return shape.manifest_selection(accounts, base=view) if shape.selects or view is not None else None

    def kept(self, selection: ManifestSelection | None) -> Digest | None:
        """What a receiver has afterwards: the digest over the exported columns."""
        return self.version.info.digest if selection is None else selection.view("version")

    def delta(self, selection: ManifestSelection | None) -> DeltaBase | None:
        """The view that the export starts from, as found. None for a whole version."""
        base = self.effective_base
        if self.base is None or base is None:
            return None
        digest = self.base.info.digest
        return DeltaBase(
            version=self.base.info.version,
            digest=digest,
            export=base.export,
            policy=base.policy,
            kept=digest if selection is None else selection.view("base"),
        )

    def fault(self, selection: ManifestSelection | None, exported: Mapping[Change | None, Digest]) -> str | None:
        """The sum of the exported rows, by their change, that does not add up. None if all do."""
        version, base = self.version.info.digest, self.effective_base
        before = None if self.base is None else self.base.info.digest
        if base is not None and base.kept is not None:
            found = self.delta(selection)
            if found is not None and found.kept != base.kept:
                return f"the view of export {base.export} has {base.kept}, but now {found.kept} is read"
        if selection is not None:
            return selection.fault(version, before, exported)
        sent = exported[None] if before is None else before - exported["removed"] + exported["added"]
        return None if sent == version else f"the exported rows come to {sent}, those of the version to {version}"
