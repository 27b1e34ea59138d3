"""A request for a segment snapshot, parsed strictly: anyone who may start an execution may send anything.

{"snapshot": {"job_id": ..., "tenant": ..., "segment": ..., "audience": ..., "at_ms": ..., "allow_shrink": ...}}
"""

from dataclasses import dataclass, fields
from typing import Any, Self

from orchestration.kinds.strict_input import as_id, as_mapping, as_number, as_text, bad_event
from schemas.ids import JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequest:
    """The members of `segment` become the next version of `audience`.

    `at_ms`: the instant of the snapshot (None: now); an instant in the past means as soon as possible. `allow_shrink`:
    publish however many members have been lost.
    """

    job_id: JobId
    tenant: str
    segment: str
    audience: str
    at_ms: int | None = None
    allow_shrink: bool = False
    retry_of: JobId | None = None

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Inverse of `as_record`. Raises `UserError` BAD_EVENT."""
        given = as_mapping(record, "snapshot")
        if unknown := sorted(str(name)[:80] for name in given.keys() - {f.name for f in fields(cls)}):
            raise bad_event(f"snapshot has unknown fields: {', '.join(unknown)}")
        allow_shrink, retry_of = given.get("allow_shrink", False), given.get("retry_of")
        if not isinstance(allow_shrink, bool):
            raise bad_event("snapshot.allow_shrink must be true or false")
        return cls(
            job_id=as_id(given.get("job_id"), "snapshot.job_id"),
            tenant=as_text(given.get("tenant"), "snapshot.tenant", empty=True),
            segment=as_text(given.get("segment"), "snapshot.segment", empty=True),
            audience=as_text(given.get("audience"), "snapshot.audience", empty=True),
            at_ms=as_number(given.get("at_ms"), "snapshot.at_ms"),
            allow_shrink=allow_shrink,
            retry_of=None if retry_of is None else as_id(retry_of, "snapshot.retry_of"),
        )
