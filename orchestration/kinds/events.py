"""The input of the workflow, parsed strictly: whoever may start an execution can send anything.

- an S3 "Object Created" event of the inbox bucket, key `<inbox_prefix><tenant>/<audience>/<file>`;
- `{"import": {...}}` from the CLI (see `ImportRequest`); `scheduled` turns the input of a schedule into one;
- `{"snapshot": {...}}`, likewise for a snapshot of a segment (see `SnapshotRequest`);
- `{"resume": job id}`: an execution that replaces the lost one of a job.

Anything else raises `UserError` BAD_EVENT, which is never retried.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self, cast, get_args

from orchestration.kinds.snapshot.request import SnapshotRequest
from orchestration.kinds.strict_input import as_id, as_mapping, as_text, bad_event
from schemas.file_lists import SourceForm
from schemas.ids import JobId
from schemas.import_targets import MAX_BUILD_SQL

KEY_MAX_BYTES: Final = 1024
"""The longest key that S3 allows."""
SEQUENCER_MAX: Final = 64
"""Sequencers of S3 have 16 to 34 characters; the order key of a job has room for 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """A request for an import. `overrides`: keys of the import spec that differ from that of the audience.

    `form`: `key` is one object, a prefix below which all files are imported together, or a list of files.
    `by_event`: the object came by an event and must lie in the inbox. `sql`: the object is the result of this query,
    which the job runs; `key` is then of no importance.
    """

    job_id: JobId
    tenant: str
    audience: str
    bucket: str
    key: str
    version_id: str | None = None
    sequencer: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    again: bool = False
    retry_of: JobId | None = None
    form: SourceForm = "object"
    sql: str | None = None
    by_event: bool = False

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        left_out = {"by_event", *(["form"] if self.form == "object" else []), *(["sql"] if self.sql is None else [])}
        record = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        return record | {"overrides": dict(self.overrides)}

    @classmethod
    def from_record(cls, record: object) -> Self:
        """Inverse of `as_record`. Raises `UserError` BAD_EVENT."""
        given = as_mapping(record, "import")
        known = {f.name for f in fields(cls)} - {"by_event"}
        if unknown := sorted(str(name)[:80] for name in given.keys() - known):
            raise bad_event(f"import has unknown fields: {', '.join(unknown)}")
        again, retry_of = given.get("again", False), given.get("retry_of")
        if not isinstance(again, bool):
            raise bad_event("import.again must be true or false")
        return cls(
            job_id=as_id(given.get("job_id"), "import.job_id"),
            tenant=as_text(given.get("tenant"), "import.tenant", empty=True),
            audience=as_text(given.get("audience"), "import.audience", empty=True),
            bucket=as_text(given.get("bucket"), "import.bucket"),
            key=as_text(given.get("key"), "import.key", most=KEY_MAX_BYTES),
            version_id=_version(given.get("version_id"), "import.version_id"),
            sequencer=as_text(given.get("sequencer", ""), "import.sequencer", most=SEQUENCER_MAX, empty=True),
            overrides=as_mapping(given.get("overrides", {}), "import.overrides"),
            again=again,
            retry_of=None if retry_of is None else as_id(retry_of, "import.retry_of"),
            form=_form(given.get("form", "object")),
            sql=None if given.get("sql") is None else as_text(given["sql"], "import.sql", most=4 * MAX_BUILD_SQL),
        )

    @classmethod
    def from_event(cls, detail: object, new_id: JobId, prefix: str = "") -> Self:
        """From the detail of an S3 event. A key of another form yields names that registration refuses.

        `prefix`: the prefix of inbox keys, before the tenant.
        """
        given = as_mapping(detail, "detail")
        stored = as_mapping(given.get("object"), "detail.object")
        # EventBridge does not encode the key, S3's own notifications would.
        key = as_text(stored.get("key"), "detail.object.key", most=KEY_MAX_BYTES)
        tenant, _, rest = key.removeprefix(prefix).partition("/")
        audience, _, _ = rest.partition("/")
        sequencer = stored.get("sequencer")
        return cls(
            job_id=new_id,
            tenant=tenant,
            audience=audience,
            bucket=as_text(as_mapping(given.get("bucket"), "detail.bucket").get("name"), "detail.bucket.name"),
            key=key,
            version_id=_version(stored.get("version-id"), "detail.object.version-id"),
            sequencer=""
            if sequencer is None
            else as_text(sequencer, "detail.object.sequencer", most=SEQUENCER_MAX, empty=True),
            by_event=True,
        )


def read_event(event: object, new_id: JobId, inbox_prefix: str = "") -> ImportRequest | SnapshotRequest | JobId:
    """The request, or the id of the job to resume. `new_id` becomes the id of an import that came by an S3 event."""
    given = as_mapping(event, "the input")
    if "resume" in given:
        return as_id(given["resume"], "resume")
    if "snapshot" in given:
        return SnapshotRequest.from_record(given["snapshot"])
    if "import" in given:
        return ImportRequest.from_record(given["import"])
    return ImportRequest.from_event(given.get("detail"), new_id, inbox_prefix)


def _form(value: object) -> SourceForm:
    if value not in get_args(SourceForm):
        raise bad_event(f"import.form is not one of {', '.join(get_args(SourceForm))}")
    return cast("SourceForm", value)


def _version(value: object, where: str) -> str | None:
    return None if value is None else as_text(value, where, empty=True) or None
