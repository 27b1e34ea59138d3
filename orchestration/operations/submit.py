"""Submits imports: the file goes into the staging bucket, then Step Functions starts ImportAudience.

1. Names and tenant are checked, so that a typo does not cost an upload.
2. A local file is uploaded to `uploads/<tenant>/<audience>/<job id>/<file name>`, and the uploaded object is pinned.
3. StartExecution under the job's id, which is safe to repeat.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.kinds.events import KEY_MAX_BYTES, ImportRequest
from orchestration.kinds.query_jobs import source_of_query
from orchestration.kinds.snapshot.request import SnapshotRequest
from orchestration.kinds.sources import require_source
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.local_files import check_readable
from orchestration.workflow.engine import IMPORT_MACHINE
from schemas.activity_columns import is_fixed
from schemas.errors import UserError
from schemas.file_lists import SourceForm
from schemas.ids import DEFAULT_TENANT, AudienceName, JobId, TenantName, audience_name, tenant_name
from schemas.import_spec import ImportSpec
from schemas.import_targets import target_name
from schemas.layout import UPLOADS_PREFIX, split_s3_uri
from schemas.log_ids import caller

if TYPE_CHECKING:
    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.records import Job
    from orchestration.kinds.specs import Specs
    from orchestration.platform.settings import Settings
    from orchestration.workflow.engine import WorkflowEngine


def check_target(audiences: "AudienceStore", tenant: str, target: str) -> tuple[TenantName, AudienceName]:
    """As `check_names`; the target may also be a reserved name."""
    checked = tenant_name(tenant), target_name(target)
    require_tenant(audiences, checked[0])
    return checked


def check_names(audiences: "AudienceStore", tenant: str, audience: str) -> tuple[TenantName, AudienceName]:
    """Step 1. Creates the tenant `default` if it is missing. Raises `UserError` BAD_NAME, UNKNOWN_TENANT."""
    checked = tenant_name(tenant), audience_name(audience)
    require_tenant(audiences, checked[0])
    return checked


def require_tenant(audiences: "AudienceStore", tenant: TenantName) -> None:
    """Raises `UserError` UNKNOWN_TENANT, except for the default tenant, which is created instead."""
    known = audiences.tenants()
    if tenant in known:
        return
    if tenant != DEFAULT_TENANT:
        raise UserError(
            "UNKNOWN_TENANT",
            f"tenant {tenant!r} does not exist; create it with `muster tenants create {tenant}`",
            tenant=tenant,
        )
    audiences.add_tenant(tenant, now_ms())


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Starts imports of files and objects, and of the sources of earlier jobs."""

    audiences: "AudienceStore"
    engine: "WorkflowEngine"
    objects: "ObjectStore"
    settings: "Settings"
    specs: "Specs"

    def submit_file(
        self,
        path: Path,
        *,
        tenant: str,
        audience: str,
        overrides: Mapping[str, Any],
        again: bool = False,
        on_bytes: Callable[[int], None] | None = None,
    ) -> JobId:
        """Upload a local file and start its import; returns the job's id. `on_bytes` gets the size of each piece sent.

        Raises `UserError` SOURCE_GONE, SOURCE_UNREADABLE, EMPTY_FILE; `RetriableError` S3_UNAVAILABLE,
        ENGINE_UNAVAILABLE.
        """
        names = check_target(self.audiences, tenant, audience)
        check_readable(path)
        job_id = fresh_id()
        bucket = self.settings.staging_bucket
        key = upload_key(*names, job_id, path.name)
        self.objects.put_file(path, bucket, key, on_bytes=on_bytes)  # 2
        return self._start_pinned(job_id, names, (bucket, key), overrides, again=again)

    def submit_object(
        self,
        uri: str,
        *,
        tenant: str,
        audience: str,
        overrides: Mapping[str, Any],
        again: bool = False,
        form: SourceForm = "object",
        new_id: JobId | None = None,
    ) -> JobId:
        """Start the import of an object in place, or of the files below a prefix or of a list, as `form` says.

        Returns the new job's id (`new_id`: chosen before). Raises `UserError` BAD_URI, BAD_SOURCE, SOURCE_GONE.
        """
        names = check_target(self.audiences, tenant, audience)
        bucket, key = source_of(self.settings, names[0], uri)
        job_id = new_id or fresh_id()
        if form == "object":
            return self._start_pinned(job_id, names, (bucket, key), overrides, again=again)
        request = ImportRequest(
            job_id=job_id,
            tenant=names[0],
            audience=names[1],
            bucket=bucket,
            key=key,
            overrides=overrides,
            again=again,
            form=form,
        )
        return start(self.engine, request)

    def submit_query(
        self, sql: str, *, tenant: str, audience: str, overrides: Mapping[str, Any], new_id: JobId | None = None
    ) -> JobId:
        """Start the import of what a query finds; returns the job's id. Raises `UserError` BAD_NAME, UNKNOWN_TENANT."""
        names = check_names(self.audiences, tenant, audience)
        request = ImportRequest(
            job_id=new_id or fresh_id(),
            tenant=names[0],
            audience=names[1],
            overrides=overrides,
            **source_of_query(sql, self.settings),
        )
        return start(self.engine, request)

    def resubmit(
        self,
        job: "Job",
        *,
        force: bool = False,
        with_audience_settings: bool = False,
        allow_shrink: bool = False,
        new_id: JobId | None = None,
    ) -> JobId:
        """Start a new job for the source of a failed or cancelled one; returns its id.

        It uses the spec of that job, or the present settings of its audience (for events and profiles, of its tenant).
        `allow_shrink`: this job alone may remove any number of members.

        Raises `UserError` NOT_RETRIABLE (it runs or was published), NO_SETTINGS, FILE_AT_FAULT (a user error, and
        neither `force` nor other settings, nor `allow_shrink` if that was the error), BAD_SPEC (events and profiles
        have no members).
        """
        if job.state not in {"FAILED", "CANCELLED"}:
            raise UserError(
                "NOT_RETRIABLE",
                f"job {job.job_id} is {job.state}; only FAILED and CANCELLED jobs are retried",
                job=job.job_id,
                state=job.state,
            )
        require_tenant(self.audiences, tenant_name(job.tenant))
        new_id = new_id or fresh_id()
        if job.segment is not None:  # it takes the settings of its audience anyway
            return start_snapshot(self.engine, _snapshot_again(job, new_id, allow_shrink=allow_shrink))
        if allow_shrink and job.kind != "audience":
            raise UserError("BAD_SPEC", f"an import of {job.kind} removes no members: allow_shrink does not apply")
        settings = self._settings_of(job)
        if with_audience_settings and settings is None:
            raise UserError(
                "NO_SETTINGS",
                f"there is no audience {job.audience!r}, so it has no settings: `muster audiences create "
                f"{_named(job)}` takes the options of an import",
                job=job.job_id,
                audience=job.audience,
            )
        same = settings is None or ("overrides" not in job.source and settings == _requested_spec(job))
        mended = force or (with_audience_settings and not same) or (allow_shrink and _shrank(job))
        mended = mended or job.sql is not None  # what the query reads may have changed
        if job.error is not None and job.error.kind == "user" and not mended:
            raise UserError(
                "FILE_AT_FAULT",
                f"job {job.job_id} failed with {job.error.code}, and the same file would fail again with the same "
                f"options: {_remedy(job, same=same, new=settings is None, tried=with_audience_settings)} correct the "
                "file and import that, or use --force",
                job=job.job_id,
                error=job.error.code,
                settings_changed=not same,
            )
        request = ImportRequest(
            job_id=new_id,
            tenant=job.tenant,
            audience=job.audience,
            bucket=str(job.source["bucket"]),
            key=str(job.source["key"]),
            version_id=job.source.get("version_id"),
            form=job.source.get("form", "object"),
            sequencer=str(job.source.get("sequencer") or ""),
            overrides={
                **({} if with_audience_settings else _options_of(job)),
                **({"max_shrink_percent": None} if allow_shrink else {}),
            },
            retry_of=job.job_id,
        )
        if job.sql is not None:
            request = replace(request, **source_of_query(job.sql, self.settings))
        return start(self.engine, request)

    def _start_pinned(
        self,
        job_id: JobId,
        names: tuple[TenantName, AudienceName],
        source: tuple[str, str],
        overrides: Mapping[str, Any],
        *,
        again: bool,
    ) -> JobId:
        """Start the import of the present version of the object (bucket, key)."""
        pinned = self.objects.pin(*source)
        request = ImportRequest(
            job_id=job_id,
            tenant=names[0],
            audience=names[1],
            bucket=pinned.bucket,
            key=pinned.key,
            version_id=pinned.version_id,
            overrides=overrides,
            again=again,
        )
        return start(self.engine, request)

    def _settings_of(self, job: "Job") -> ImportSpec | None:
        """The spec for the job's file if no options were given. None if its audience does not exist."""
        if job.kind != "audience":
            return self.specs.for_activity(job.tenant, job.kind, {})
        audience = self.audiences.find(job.tenant, job.audience)
        return None if audience is None else self.specs.stored(audience)


def _requested_spec(job: "Job") -> ImportSpec:
    """The spec of a job before columns found in its file were added."""
    if not job.spec.other_columns:
        return job.spec
    named = {column.name for column in job.spec.known_columns}
    kept = tuple(c for c in job.spec.columns if c.name in named or is_fixed(job.kind, c.name))
    return replace(job.spec, columns=kept)


def _named(job: "Job") -> str:
    return job.audience if job.tenant == DEFAULT_TENANT else f"{job.audience} -t {job.tenant}"


def _shrank(job: "Job") -> bool:
    return job.error is not None and job.error.code == "AUDIENCE_WOULD_SHRINK"


def _remedy(job: "Job", *, same: bool, new: bool, tried: bool) -> str:
    if _shrank(job):
        return "if so many members should leave, add --allow-shrink. Otherwise"
    if not same:
        return "--with-audience-settings uses the present settings of the audience, which differ. Or"
    verb = "create" if new else "configure"
    if tried:
        first = f"Change them first with `muster audiences {verb} {_named(job)}`"
        return f"the settings of {job.audience} are the same. {first},"
    return f"change its settings with `muster audiences {verb} {_named(job)}` and add --with-audience-settings,"


def _options_of(job: "Job") -> Mapping[str, Any]:
    """The options an earlier job was given; one that was refused at registration has no spec of its own."""
    if "overrides" in job.source:
        overrides: Mapping[str, Any] = job.source["overrides"]
        return overrides
    # Columns taken from the file itself were not named by anyone.
    named: dict[str, Any] = {} if job.kind == "audience" else {"known_columns": []}
    return {**named, **job.spec.as_record()}


def start(engine: "WorkflowEngine", request: ImportRequest) -> JobId:
    """Step 3. Raises `RetriableError` ENGINE_UNAVAILABLE, `FatalError` ENGINE_REFUSED."""
    engine.start(IMPORT_MACHINE, request.job_id, {"import": request.as_record(), **caller()})
    return request.job_id


def start_snapshot(engine: "WorkflowEngine", request: SnapshotRequest) -> JobId:
    """As `start`, for a snapshot."""
    engine.start(IMPORT_MACHINE, request.job_id, {"snapshot": request.as_record(), **caller()})
    return request.job_id


def _snapshot_again(job: "Job", new_id: JobId, *, allow_shrink: bool) -> SnapshotRequest:
    return SnapshotRequest(
        job_id=new_id,
        tenant=job.tenant,
        segment=str(job.source["segment"]),
        audience=job.audience,
        at_ms=job.source.get("at_ms"),
        allow_shrink=allow_shrink or bool(job.source.get("allow_shrink")),
        retry_of=job.job_id,
    )


def source_of(settings: "Settings", tenant: str | None, uri: str) -> tuple[str, str]:
    """(bucket, key) of an object that the tenant (None: any) may import. Raises `UserError` BAD_URI, BAD_SOURCE."""
    bucket, key = split_s3_uri(uri)
    if not key:
        raise UserError("BAD_URI", f"{uri!r} names a bucket, not an object in it", uri=uri)
    require_source(settings, tenant, bucket, key)
    return bucket, key


def form_of(uri: str) -> SourceForm:
    """How the address of an import is meant: a prefix ends with `/`."""
    return "prefix" if uri.endswith("/") else "object"


def upload_key(tenant: TenantName, audience: AudienceName, job_id: JobId, file_name: str) -> str:
    """Key of an uploaded file in the staging bucket. A name too long for S3 loses its beginning."""
    prefix = f"{UPLOADS_PREFIX}{tenant}/{audience}/{job_id}/"
    room = KEY_MAX_BYTES - len(prefix.encode())
    name = "".join(c if c.isprintable() else "_" for c in file_name)
    return prefix + name.encode()[-room:].decode(errors="ignore")
