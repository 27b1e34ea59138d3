"""Bodies of requests that begin an operation."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from orchestration.access.bodies.common import GRAPHIC, Id, Name, ResourceName, Shape, VersionNumber
from orchestration.access.bodies.imports import MAX_UPLOADS
from orchestration.records.fields import Example
from orchestration.records.questions import RuleEngine
from schemas.columns import ImportKind
from schemas.ids import USER_ID_MAX_CHARACTERS
from schemas.import_formats import ImportFormat

Uri = Annotated[str, Field(max_length=2048, pattern=GRAPHIC)]


class NewDifference(Shape):
    """Two versions to compare. `sample`: how many ids of each kind of change to name.

    `after`: name those after this id, to page through all of them, `change`: of this kind alone. `values`: also name
    the columns that changed, with their earlier and later values; texts are cut after 200 characters.
    """

    earlier: Annotated[int, Field(ge=1, le=2**31)]
    later: Annotated[int, Field(ge=1, le=2**31)]
    sample: Annotated[int, Field(ge=0, le=10_000)] = 0
    after: Annotated[str, Field(max_length=USER_ID_MAX_CHARACTERS)] | None = None
    change: Literal["added", "removed", "changed"] | None = None
    values: bool = False
    example: ClassVar[Example] = {"earlier": 3, "later": 5, "sample": 20}


class NewFile(Shape):
    """A version as one Parquet file without a manifest at `to`, s3://bucket/key: by its number, or as of a time."""

    to: Uri
    version: VersionNumber | None = None
    as_of: Annotated[str, Field(max_length=40)] | None = None
    overwrite: bool = False
    example: ClassVar[Example] = {"to": "s3://crm/acme/vip.parquet"}


class NewSegmentCheck(Shape):
    """How long to wait for workers and archive. `engine`: that evaluates the rule, instead of the setting `engine`."""

    timeout_s: Annotated[float, Field(ge=1, le=3000)] = 120.0
    engine: RuleEngine | None = None
    example: ClassVar[Example] = {"timeout_s": 120}


class NewCheck(Shape):
    """A file to check before it is imported: an object of the tenant, or an upload.

    Without `target` the object is inspected as `kind`; with it, an audience or `_events` or `_profiles`, the import of
    the object or upload is tried, with changes to the stored `spec`; or that of several files, named as for an import.
    `manifest`: of the export that wrote the file.
    """

    source: Uri | None = None
    upload: Id | None = None
    uploads: Annotated[list[Id], Field(max_length=MAX_UPLOADS)] = Field(default_factory=list)
    list: Uri | None = None
    manifest: Uri | None = None
    kind: ImportKind = "audience"
    format: ImportFormat | None = None
    target: Name | None = None
    spec: Annotated[dict[str, Any], Field(default_factory=dict)]
    example: ClassVar[Example] = {"source": "s3://inbox/acme/vip/people.csv", "target": "vip"}

    @model_validator(mode="after")
    def _one_file(self) -> Self:
        if sum(map(bool, (self.source, self.list, self.upload, self.uploads))) != 1:
            raise ValueError("give one of source, list, upload and uploads")
        several = self.list or self.uploads or (self.source or "").endswith("/")
        if self.target is None and (self.source is None or several or self.manifest is not None):
            raise ValueError("to inspect, give the source of one file and no manifest")
        if several and self.manifest is not None:
            raise ValueError("a manifest says how one file was written; it does not apply to several")
        return self


class Rollback(Shape):
    """The version whose members become the newest version again."""

    version: VersionNumber
    reason: Annotated[str, Field(max_length=1000)] = ""
    example: ClassVar[Example] = {"version": 3, "reason": "the file of Monday was incomplete"}


class Compaction(Shape):
    """Size of the new files, in MB (10^6 bytes)."""

    target_mb: Annotated[int, Field(ge=1, le=100_000)] = 128
    example: ClassVar[Example] = {"target_mb": 256}


class Expiration(Shape):
    """How much is kept; omitted fields come from the audience."""

    versions: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    days: Annotated[int, Field(ge=0, le=100_000)] | None = None
    example: ClassVar[Example] = {"versions": 3, "days": 0}


class Rename(Shape):
    """The new name of an audience."""

    audience: ResourceName
    example: ClassVar[Example] = {"audience": "gold"}
