"""An export request, parsed strictly from the input of an execution."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from orchestration.kinds.strict_input import as_id, as_mapping, as_number, as_text, bad_event
from schemas.errors import UserError
from schemas.export_shape import AudienceVersion, ConsentLists, ExportShape
from schemas.ids import JobId
from schemas.manifest import TARGET_BYTES, ExportFormat

TO_MAX: Final = 2048
SINCE_LAST: Final = "last"
"""`delta_from`: changes since the last export of the schedule, or of the audience to the same destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredView:
    """What a receiver has: the part of a version that an export has delivered, with the digest of its rows (`kept`).

    `export` and `kept` are None if the receiver is only known to have the version.
    """

    version: int
    shape: ExportShape = ExportShape()  # noqa: RUF009  # frozen
    consent: ConsentLists | None = None
    export: JobId | None = None
    kept: str | None = None

    @property
    def other_audiences(self) -> tuple[AudienceVersion, ...]:
        """All audiences that the view was made with, in the order of their leases."""
        return (*self.shape.other_audiences, *(() if self.consent is None else self.consent.lists))

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "version": self.version,
            "shape": self.shape.as_record(),
            "consent": None if self.consent is None else self.consent.as_record(),
            "export": self.export,
            "kept": self.kept,
        }

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Inverse of `as_record`. Raises `UserError` BAD_EVENT, BAD_SHAPE, BAD_NAME."""
        given = as_mapping(record, "export.base")
        version, export, kept = (
            as_number(given.get("version"), "export.base.version"),
            given.get("export"),
            given.get("kept"),
        )
        if version is None or given.keys() - {f.name for f in fields(cls)}:
            raise bad_event("export.base is no view")
        return cls(
            version=version,
            shape=ExportShape.from_record(as_mapping(given.get("shape", {}), "export.base.shape")),
            consent=None if given.get("consent") is None else ConsentLists.from_record(given["consent"]),
            export=None if export is None else as_id(export, "export.base.export"),
            kept=None if kept is None else as_text(kept, "export.base.kept"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """A request for an export. `version` is a number, or `as_of` a time (ISO 8601); neither means the current version.

    `delta_from`: export only what was added and removed since that version, or since an export, by its id or
    `SINCE_LAST`. `to`: `s3://bucket/prefix` or `kafka://TOPIC`; `profile`: the name of the credentials for it, if not
    our own. `shape`: the part of the version to export. `schedule`: the schedule that this is a run of. `audience` may
    name a segment: then a snapshot makes the version first, however many members were lost if `allow_shrink`.
    Registration decides, whatever a request says, on `segment`, on `consent`, the lists that the tenant's policy leaves
    out, and on `base`, the view that a delta starts from.
    """

    export_id: JobId
    tenant: str
    audience: str
    to: str
    format: ExportFormat
    target_bytes: int = TARGET_BYTES
    profile: str | None = None
    version: int | None = None
    as_of: str | None = None
    delta_from: int | str | None = None
    retry_of: JobId | None = None
    schedule: JobId | None = None
    shape: ExportShape = ExportShape()  # noqa: RUF009  # frozen
    row_group_rows: int | None = None
    consent: ConsentLists | None = None
    base: "DeliveredView | None" = None
    segment: str | None = None
    allow_shrink: bool = False

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        record |= {"format": self.format.as_record(), "shape": self.shape.as_record()}
        for name in ("consent", "base"):  # a release that does not know them reads records without them
            value = record.pop(name)
            if value is not None:
                record[name] = value.as_record()
        for name in ("segment", "allow_shrink"):
            if not record[name]:
                del record[name]
        return record

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Inverse of `as_record`. Raises `UserError` BAD_EVENT, BAD_FORMAT, BAD_SHAPE, BAD_NAME."""
        given = as_mapping(record, "export")
        if unknown := sorted(str(name)[:80] for name in given.keys() - {f.name for f in fields(cls)}):
            raise bad_event(f"export has unknown fields: {', '.join(unknown)}")
        profile = given.get("profile")
        as_of, retry_of, schedule = given.get("as_of"), given.get("retry_of"), given.get("schedule")
        segment, allow_shrink = given.get("segment"), given.get("allow_shrink", False)
        if not isinstance(allow_shrink, bool):
            raise bad_event("export.allow_shrink must be true or false")
        target = as_number(given.get("target_bytes"), "export.target_bytes")
        return cls(
            export_id=as_id(given.get("export_id"), "export.export_id"),
            tenant=as_text(given.get("tenant"), "export.tenant", empty=True),
            audience=as_text(given.get("audience"), "export.audience", empty=True),
            to=as_text(given.get("to"), "export.to", most=TO_MAX),
            format=_format(given.get("format", {"name": "parquet"})),
            target_bytes=TARGET_BYTES if target is None else target,
            profile=None if profile is None else as_text(profile, "export.profile"),
            version=as_number(given.get("version"), "export.version"),
            as_of=None if as_of is None else as_text(as_of, "export.as_of"),
            delta_from=_base(given.get("delta_from")),
            retry_of=None if retry_of is None else as_id(retry_of, "export.retry_of"),
            schedule=None if schedule is None else as_id(schedule, "export.schedule"),
            shape=ExportShape.from_record(as_mapping(given.get("shape", {}), "export.shape")),
            row_group_rows=as_number(given.get("row_group_rows"), "export.row_group_rows"),
            consent=None if given.get("consent") is None else ConsentLists.from_record(given["consent"]),
            base=None if given.get("base") is None else DeliveredView.from_record(given["base"]),
            segment=None if segment is None else as_text(segment, "export.segment"),
            allow_shrink=allow_shrink,
        )

    @property
    def sends_json(self) -> bool:
        """Whether a topic gets a record in JSON for each row, not chunks of Arrow."""
        return self.format.format == "jsonl"

    @property
    def moment(self) -> datetime | None:
        """`as_of` as a time; UTC if it names no zone. Raises `UserError` BAD_TIME."""
        return moment_of(self.as_of)

    @property
    def other_audiences(self) -> tuple[AudienceVersion, ...]:
        """All audiences read besides the exported one and the base of a delta, in the order of their leases."""
        return (*self.shape.other_audiences, *(() if self.consent is None else self.consent.lists))

    def resolved(self, version: int, shape: ExportShape) -> Self:
        """The same request with its versions resolved."""
        return replace(self, version=version, as_of=None, shape=shape)

    def with_base(self, base: DeliveredView | None) -> Self:
        """The same request as a delta from a view; None: as a whole export."""
        return replace(self, delta_from=None if base is None else base.version, base=base)

    @property
    def since_export(self) -> int | str | None:
        """What a repeat of this request starts from: the same export, not just its version."""
        return self.delta_from if self.base is None or self.base.export is None else self.base.export


def moment_of(as_of: str | None) -> datetime | None:
    """A time in ISO 8601, UTC if it names no zone. Raises `UserError` BAD_TIME."""
    if as_of is None:
        return None
    try:
        moment = datetime.fromisoformat(as_of)
    except ValueError as exc:
        raise UserError("BAD_TIME", f"{as_of!r} is not a time like 2026-11-25T09:00Z", time=as_of) from exc
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def read_export(event: object) -> ExportRequest | JobId:
    """The requested export, or the id of one to resume. Raises as `ExportRequest.from_record`."""
    given = as_mapping(event, "the input")
    if "resume" in given:
        return as_id(given["resume"], "resume")
    return ExportRequest.from_record(given.get("export"))


def _base(given: object) -> int | str | None:
    if given is None or given == SINCE_LAST:
        return None if given is None else SINCE_LAST
    return as_id(given, "export.delta_from") if isinstance(given, str) else as_number(given, "export.delta_from")


def _format(record: object) -> ExportFormat:
    given: Mapping[str, Any] = as_mapping(record, "export.format")
    if unknown := sorted(str(n)[:80] for n in given.keys() - {"name", "compression", "null_token", "formulas"}):
        raise bad_event(f"export.format has unknown fields: {', '.join(unknown)}")
    token = given.get("null_token")
    return ExportFormat.from_record(
        {**given, "null_token": None if token is None else as_text(token, "null_token", empty=True)}
    )
