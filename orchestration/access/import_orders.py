"""An import as a client of the service orders it, and what of it is inconsistent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.columns import ImportKind
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.import_targets import RESERVED, activity_spec, kind_of_target

OF_QUERIES: Final = frozenset(
    {"mode", "max_reject_share", "allow_empty", "max_shrink_percent", "drop_columns", "retype_columns"}
)
"""Keys of the import spec that may be changed for what a query finds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOrder:
    """An import into an audience, or as events or profiles.

    Of an object (`source`, s3://bucket/key), of all files below a prefix (`source`, s3://bucket/prefix/), of the files
    that a `list` (s3://bucket/key) names, of an `upload` or of several, or of what a query (`sql`) finds. `changes`:
    keys of the import spec that differ from the audience's. `manifest`: of the export that wrote the file.
    """

    kind: ImportKind = "audience"
    audience: str | None = None
    source: str | None = None
    list: str | None = None
    upload: str | None = None
    uploads: Sequence[str] = ()
    sql: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    only_columns: bool = False
    manifest: str | None = None
    again: bool = False

    def __post_init__(self) -> None:
        if sum(map(bool, (self.source, self.list, self.upload, self.uploads, self.sql))) != 1:
            raise _bad("give one of source, list, upload, uploads and sql")
        if self.sql is not None:
            self._check_query()
        if self.manifest is not None and (self.list or self.uploads or (self.source or "").endswith("/")):
            raise _bad("a manifest says how one file was written; it does not apply to several")
        if len(set(self.uploads)) < len(self.uploads):
            raise _bad("an upload is named twice")
        if self.kind == "audience":
            if self.only_columns:
                raise _bad("only_columns is for events and profiles; an audience never keeps other columns")
            if self.audience is None:
                raise _bad("name the audience, or set kind to events or profiles")
            if kind_of_target(self.audience) != "audience":
                raise _bad("a reserved name is no audience; set kind instead")
            ImportSpec().with_changes(self.changes)
            return
        if self.audience is not None or self.manifest is not None or "max_shrink_percent" in self.changes:
            raise _bad(f"with kind {self.kind}, audience, manifest and max_shrink_percent do not apply")
        if "drop_columns" in self.changes:
            raise _bad(f"an import of {self.kind} never drops a column")
        activity_spec(self.kind, self.overrides)

    def _check_query(self) -> None:
        if self.kind != "audience" or self.manifest is not None or self.again:
            raise _bad("a query makes an audience, always anew: kind, manifest and again do not apply")
        if fixed := sorted(self.changes.keys() - OF_QUERIES):
            raise _bad(f"the columns and the form of the file come from the query: {fixed[0]} does not apply")

    @property
    def target(self) -> str:
        """The audience, or the reserved name of its kind."""
        return self.audience or RESERVED[self.kind]

    @property
    def overrides(self) -> dict[str, Any]:
        """Changes to the import spec."""
        return {**self.changes, **({"other_columns": False} if self.only_columns else {})}


def _bad(why: str) -> UserError:
    return UserError("BAD_SPEC", why)
