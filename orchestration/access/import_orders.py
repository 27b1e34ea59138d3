"""An import as a client of the service orders it, and what of it is inconsistent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.columns import ImportKind
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.import_targets import RESERVED, activity_spec, kind_of_target


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOrder:
    """An import into an audience, or as events or profiles.

    Of an object (`source`, s3://bucket/key), of all files below a prefix (`source`, s3://bucket/prefix/), of the files
    that a `list` (s3://bucket/key) names, of an `upload` or of several. `changes`: keys of the import spec that differ
    from the audience's. `manifest`: of the export that wrote the file.
    """

    kind: ImportKind = "audience"
    audience: str | None = None
    source: str | None = None
    list: str | None = None
    upload: str | None = None
    uploads: Sequence[str] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    only_columns: bool = False
    manifest: str | None = None
    again: bool = False

    def __post_init__(self) -> None:
        if sum(map(bool, (self.source, self.list, self.upload, self.uploads))) != 1:
            raise _bad("give one of source, list, upload and uploads")
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
