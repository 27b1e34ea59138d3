"""An export request, parsed strictly from the input of an execution."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from orchestration.kinds.strict_input import as_id, as_mapping, as_number, as_text, bad_event
from schemas.errors import UserError
from schemas.export_shape import ExportShape
from schemas.ids import JobId
from schemas.manifest import TARGET_BYTES, ExportFormat

TO_MAX: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """A request for an export. `version` is a number, or `as_of` a time (ISO 8601); neither means the current version.

    `delta_from`: export only what was added and removed since that version. `to`: `s3://bucket/prefix` or
    `kafka://TOPIC`; `profile`: the name of the credentials for it, if not our own. `shape`: the part of the version to
    export. `schedule`: the schedule that this is a run of.
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
    delta_from: int | None = None
    retry_of: JobId | None = None
    schedule: JobId | None = None
    shape: ExportShape = ExportShape()  # noqa: RUF009  # frozen
    row_group_rows: int | None = None

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        return record | {"format": self.format.as_record(), "shape": self.shape.as_record()}

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Inverse of `as_record`. Raises `UserError` BAD_EVENT, BAD_FORMAT, BAD_SHAPE, BAD_NAME."""
        given = as_mapping(record, "export")
        if unknown := sorted(str(name)[:80] for name in given.keys() - {f.name for f in fields(cls)}):
            raise bad_event(f"export has unknown fields: {', '.join(unknown)}")
        profile = given.get("profile")
        as_of, retry_of, schedule = given.get("as_of"), given.get("retry_of"), given.get("schedule")
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
            delta_from=as_number(given.get("delta_from"), "export.delta_from"),
            retry_of=None if retry_of is None else as_id(retry_of, "export.retry_of"),
            schedule=None if schedule is None else as_id(schedule, "export.schedule"),
            shape=ExportShape.from_record(as_mapping(given.get("shape", {}), "export.shape")),
            row_group_rows=as_number(given.get("row_group_rows"), "export.row_group_rows"),
        )

    @property
    def moment(self) -> datetime | None:
        """`as_of` as a time; UTC if it names no zone. Raises `UserError` BAD_TIME."""
        return moment_of(self.as_of)

    def resolved(self, version: int, shape: ExportShape) -> Self:
        """The same request with its versions resolved."""
        return replace(self, version=version, as_of=None, shape=shape)


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


def _format(record: object) -> ExportFormat:
    given: Mapping[str, Any] = as_mapping(record, "export.format")
    if unknown := sorted(str(n)[:80] for n in given.keys() - {"name", "compression", "null_token", "formulas"}):
        raise bad_event(f"export.format has unknown fields: {', '.join(unknown)}")
    token = given.get("null_token")
    return ExportFormat.from_record(
        {**given, "null_token": None if token is None else as_text(token, "null_token", empty=True)}
    )
