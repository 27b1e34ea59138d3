"""Starts jobs in a tenant, cancels and retries them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from orchestration.access.bodies.exports import NewExport
from orchestration.access.bodies.imports import NamedUsers, NewImport
from orchestration.access.bodies.jobs import Retry
from orchestration.access.guard import SHOWN, Entry, reads, recorded
from orchestration.access.idempotency import RequestKey, once
from orchestration.access.import_orders import ImportOrder
from orchestration.access.manifests import settings_of_manifest
from orchestration.access.named_users import (
    FILE_NAMES,
    Change,
    audited,
    file_of,
    require_no_columns,
    settings_for,
)
from orchestration.access.policy import Action
from orchestration.access.problems import (
    OF_EXPORTS,
    OF_IMPORTS,
    OF_MANIFESTS,
    OF_OBJECTS,
    OF_THE_ENGINE,
    OF_THE_LAKE,
    OF_UPLOADS,
)
from orchestration.access.uploading import list_of_uploads, stored_upload
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.idempotency import Claim
from orchestration.catalog.records import Export, Job
from orchestration.kinds.export.request import ExportRequest
from orchestration.kinds.places import DOWNLOAD
from orchestration.operations.job_search import AnyJob
from orchestration.operations.submit import form_of, source_of, upload_key
from orchestration.records.jobs import (
    CancelledExport,
    CancelledImport,
    ExportFile,
    ExportFiles,
    Retried,
    RetriedExport,
    Started,
    StartedExport,
)
from schemas.errors import UserError
from schemas.file_lists import SourceForm
from schemas.ids import JobId, job_id
from schemas.layout import s3_uri, split_s3_uri
from schemas.manifest import Manifest

StartedT = TypeVar("StartedT", bound=Started | StartedExport)


class Submissions(TenantView):
    """Jobs as one caller may start, cancel and retry them."""

    @recorded(
        Action.RUN_JOBS,
        "import",
        "POST /imports",
        status=202,
        problems=(*OF_THE_ENGINE, *OF_IMPORTS, *OF_MANIFESTS, *OF_UPLOADS, "UPLOAD_UNFINISHED"),
    )
    def start_import(self, entry: Entry, body: NewImport, *, key: RequestKey) -> Started:
        """Start the import of an object or an upload, of several as one, or of what a query finds."""
        entry.arguments = given = body.order()
        return self._import(entry, ImportOrder(**given), key)

    @recorded(
        Action.RUN_JOBS,
        "audiences add",
        "POST /audiences/{audience}/additions",
        status=202,
        problems=(*OF_THE_ENGINE, *OF_OBJECTS, *OF_THE_LAKE, "MISSING_COLUMN"),
    )
    def add_members(self, entry: Entry, audience: str, body: NamedUsers, *, key: RequestKey) -> Started:
        """Start the import that adds some users to an audience. Members keep their values in its columns."""
        return self._change_members(entry, audience, body.users, "append", key)

    @recorded(
        Action.RUN_JOBS,
        "audiences remove",
        "POST /audiences/{audience}/removals",
        status=202,
        problems=(*OF_THE_ENGINE, *OF_OBJECTS),
    )
    def remove_members(self, entry: Entry, audience: str, body: NamedUsers, *, key: RequestKey) -> Started:
        """Start the import that removes some users from an audience. Its limit of shrinking applies."""
        return self._change_members(entry, audience, body.users, "remove", key)

    def _change_members(
        self, entry: Entry, name: str, users: Sequence[str], change: Change, key: RequestKey
    ) -> Started:
        services = self._services
        entry.object, entry.arguments = name[:63], audited(users, services.settings.audit_secret())
        audience = self._audience(name)

        def start(claim: Claim) -> Started:
            if change == "append":
                require_no_columns(audience.name, services.specs.stored(audience))
            bucket = services.settings.staging_bucket
            stored = upload_key(self._name, audience.name, claim.job_id, FILE_NAMES[change])
            services.objects.put(bucket, stored, file_of(users))
            job = services.submission.submit_object(
                s3_uri(bucket, stored),
                tenant=self._name,
                audience=audience.name,
                overrides=settings_for(change),
                again=True,  # the same users may be removed and added again
                new_id=claim.job_id,
            )
            return Started(job=job)

        return self._once(Started, entry, key, start)

    @recorded(Action.RUN_JOBS, "import")
    def import_like(self, entry: Entry, files: Mapping[str, Any], like: str, *, key: RequestKey) -> Started:
        """Import an upload or several once more, with the settings of an earlier import into an audience."""
        found = self._services.all_jobs.get(job_id(like), tenant=self._name)
        if isinstance(found, Export) or found.shown_kind != "audience":
            raise UserError("INVALID_REQUEST", "only the import of an audience is repeated here")
        given: dict[str, Any] = {
            "audience": found.audience,
            **files,
            "changes": found.spec.as_record(),
            "again": True,
        }
        entry.arguments = given
        return self._import(entry, ImportOrder(**given), key)

    def _import(self, entry: Entry, order: ImportOrder, key: RequestKey) -> Started:
        entry.object = order.target[:63]
        if order.sql is not None:
            return self._build(entry, order, order.sql, key)

        def start(claim: Claim) -> Started:
            source, form = self._source(order, claim.job_id)
            overrides = order.overrides
            if order.manifest is not None:
                written = settings_of_manifest(self._services, self._allowed_locations(), order.manifest, source)
                overrides = {**written, **overrides}
            job = self._services.submission.submit_object(
                source,
                tenant=self._name,
                audience=order.target,
                overrides=overrides,
                again=order.again,
                form=form,
                new_id=claim.job_id,
            )
            return Started(job=job)

        return self._once(Started, entry, key, start)

    def _build(self, entry: Entry, order: ImportOrder, sql: str, key: RequestKey) -> Started:
        entry.arguments = {**entry.arguments, "sql": sql[:SHOWN]}
        self.require(Action.READ_USERS)  # as for any query: it can ask about single users

        def start(claim: Claim) -> Started:
            job = self._services.submission.submit_query(
                sql, tenant=self._name, audience=order.target, overrides=order.overrides, new_id=claim.job_id
            )
            return Started(job=job)

        return self._once(Started, entry, key, start)

    @recorded(Action.RUN_JOBS, "export", "POST /exports", status=202, problems=(*OF_THE_ENGINE, *OF_EXPORTS))
    def start_export(self, entry: Entry, body: NewExport, *, key: RequestKey) -> StartedExport:
        """Start an export."""
        wanted = body.request()
        entry.object, entry.arguments = body.audience[:63], wanted

        def start(claim: Claim) -> StartedExport:
            request = ExportRequest.from_record({**wanted, "export_id": claim.job_id, "tenant": self._name})
            return StartedExport(export=self._services.export_jobs.submit(request))

        return self._once(StartedExport, entry, key, start)

    @reads(Action.RUN_JOBS)
    def waits_for_receiver(self, to: str) -> bool:
        """Whether the files of an export to this address are fetched from the service."""
        return to.startswith(self._allowed_locations().resolved(DOWNLOAD, ""))

    @recorded(
        Action.RUN_JOBS,
        "exports files",
        "GET /exports/{export}/files",
        problems=(*OF_OBJECTS, "UNKNOWN_JOB", "BAD_JOB_ID", "NO_FILES"),
    )
    def list_export_files(self, entry: Entry, export: str) -> ExportFiles:
        """The files of an export to `download`, with URLs that are valid for five minutes."""
        found = self._find(entry, job_id(export))
        if not isinstance(found, Export) or not self.waits_for_receiver(str(found.request.get("to"))):
            raise UserError("NO_FILES", f"job {found.job_id} is not an export to `download`", job=found.job_id)
        if found.state != "READY" or found.outcome is None:
            raise UserError("NO_FILES", f"export {found.job_id} is {found.state} and has no files", job=found.job_id)
        bucket, key = split_s3_uri(str(found.outcome["manifest"]))
        manifest = Manifest.parse(self._services.objects.get(bucket, key))
        folder = key.rpartition("/")[0]
        signer = self._services.presigner

        def request(name: str) -> str:
            return signer.get(bucket, f"{folder}/{name}", name=name.rpartition("/")[2]).url

        return ExportFiles(
            export=found.job_id,
            version=manifest.version,
            rows=manifest.rows,
            manifest=request(key.rpartition("/")[2]),
            items=[
                ExportFile(key=one.key, rows=one.rows, bytes=one.bytes, sha256=one.sha256, url=request(one.key))
                for one in manifest.files
            ],
        )

    @recorded(
        Action.RUN_JOBS,
        "jobs cancel",
        "PUT /jobs/{job}/cancellation",
        problems=("IS_DUPLICATE", "TOO_LATE"),
        client="cancel",
    )
    def cancel_job(self, entry: Entry, job: str) -> CancelledImport | CancelledExport:
        """Cancel a job, so that it publishes nothing. No effect on a cancelled one."""
        wanted = job_id(job)
        found = self._find(entry, wanted)
        entry.before = {"state": found.state}
        jobs = self._services.export_jobs if isinstance(found, Export) else self._services.import_jobs
        cancelled = jobs.cancel(wanted)
        entry.after = {"state": cancelled.state}
        return cancelled

    @recorded(
        Action.RUN_JOBS,
        "jobs retry",
        "POST /jobs/{job}/retries",
        status=202,
        problems=(
            *OF_THE_ENGINE,
            *OF_EXPORTS,
            "BAD_SOURCE",
            "NOT_RETRIABLE",
            "NO_SETTINGS",
            "FILE_AT_FAULT",
        ),
        client="retry",
    )
    def retry_job(self, entry: Entry, job: str, body: Retry, *, key: RequestKey) -> Retried | RetriedExport:
        """Run a FAILED or CANCELLED job again, as a new job."""
        wanted = job_id(job)
        entry.arguments = {
            "job": wanted,
            "force": body.force,
            "with_audience_settings": body.with_audience_settings,
            **({"allow_shrink": True} if body.allow_shrink else {}),
        }
        found = self._find(entry, wanted)
        if isinstance(found, Export):
            return self._once(RetriedExport, entry, key, lambda claim: self._retry_export(found, body, claim))
        return self._once(Retried, entry, key, lambda claim: self._retry_import(found, body, claim))

    def _retry_export(self, found: Export, body: Retry, claim: Claim) -> RetriedExport:
        if body.force or body.with_audience_settings:
            raise UserError("BAD_SPEC", "force and with_audience_settings are for imports: an export reads no file")
        started = self._services.export_jobs.retry(found.job_id, allow_shrink=body.allow_shrink, new_id=claim.job_id)
        return RetriedExport(export=started, retry_of=found.job_id)

    def _retry_import(self, found: Job, body: Retry, claim: Claim) -> Retried:
        if found.segment is None:
            self._allowed_locations().require_source(str(found.source["bucket"]), str(found.source["key"]))
        started = self._services.submission.resubmit(
            found,
            force=body.force,
            with_audience_settings=body.with_audience_settings,
            allow_shrink=body.allow_shrink,
            new_id=claim.job_id,
        )
        return Retried(job=started, retry_of=found.job_id)

    def _once(
        self, record: type[StartedT], entry: Entry, key: RequestKey, start: Callable[[Claim], StartedT]
    ) -> StartedT:
        started = once(record, self._services, self._caller, self._name, key, start)
        entry.job_id = JobId(started.job if isinstance(started, Started) else started.export)
        return started

    def _find(self, entry: Entry, wanted: JobId) -> AnyJob:
        found = self._services.all_jobs.get(wanted, tenant=self._name)
        entry.object, entry.job_id = found.audience[:63], wanted
        return found

    def _source(self, order: ImportOrder, job: JobId) -> tuple[str, SourceForm]:
        if order.upload is not None:
            upload = stored_upload(self._services, self._name, order.upload)
            return s3_uri(self._services.settings.staging_bucket, upload.key), "object"
        if order.uploads:
            return list_of_uploads(self._services, self._name, order.uploads, job), "list"
        source = str(order.source or order.list)
        self._allowed_locations().require_source(*source_of(self._services.settings, self._name, source))
        return source, "list" if order.list is not None else form_of(source)
