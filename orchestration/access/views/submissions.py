"""Starts jobs in a tenant, cancels and retries them."""

from collections.abc import Mapping
from typing import Any

from orchestration.access.guard import Entry, recorded
from orchestration.access.idempotency import RequestKey, once
from orchestration.access.import_orders import ImportOrder
from orchestration.access.manifests import settings_of_manifest
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.uploading import stored_upload
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.idempotency import Claim
from orchestration.catalog.job_rows import unknown_job
from orchestration.catalog.records import Export
from orchestration.kinds.export.request import ExportRequest
from orchestration.kinds.places import DOWNLOAD
from orchestration.operations.job_records import any_record
from orchestration.operations.job_search import AnyJob
from orchestration.operations.submit import source_of
from schemas.errors import UserError
from schemas.ids import JobId, job_id
from schemas.layout import s3_uri, split_s3_uri
from schemas.manifest import Manifest


class SubmissionsView(TenantView):
    """Jobs as one caller may start, cancel and retry them."""

    @recorded(Action.RUN_JOBS, "import")
    def start_import(self, entry: Entry, given: Mapping[str, Any], key: RequestKey) -> Record:
        """Start an import, which is registered within seconds; `given`: an `ImportOrder` as plain data.

        Raises `UserError` BAD_NAME, BAD_SPEC, BAD_COLUMN, BAD_URI, BAD_SOURCE, SOURCE_GONE, ACCESS_DENIED,
        NO_SUCH_BUCKET, BAD_MANIFEST, NOT_IN_MANIFEST, ESCAPED_EXPORT, UNKNOWN_UPLOAD, UPLOAD_UNFINISHED, and as `once`;
        `RetriableError` S3_UNAVAILABLE, ENGINE_UNAVAILABLE.
        """
        entry.arguments = dict(given)
        order = ImportOrder(**given)
        entry.object = order.target[:63]

        def start(claim: Claim) -> Record:
            source = self._source(order)
            overrides = order.overrides
            if order.manifest is not None:
                written = settings_of_manifest(self._services, self._reach(), order.manifest, source)
                overrides = {**written, **overrides}
            started = self._services.submission.submit_object(
                source,
                tenant=self._name,
                audience=order.target,
                overrides=overrides,
                again=order.again,
                new_id=claim.job_id,
            )
            return {"job": started, "state": "SUBMITTED"}

        return self._once(entry, key, start)

    @recorded(Action.RUN_JOBS, "export")
    def start_export(self, entry: Entry, wanted: Mapping[str, Any], key: RequestKey) -> Record:
        """Start an export, which is registered within seconds; `wanted`: an `ExportRequest` as plain data without ids.

        Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE, BAD_DESTINATION, BAD_URI, BAD_FORMAT, BAD_SHAPE, BAD_TIME,
        NOT_IN_A_DELTA, DESTINATION_NOT_WRITABLE, UNKNOWN_PROFILE, BAD_PROFILES, OUTSIDE_PROFILE, and as `once`;
        `RetriableError` ENGINE_UNAVAILABLE.
        """
        entry.object, entry.arguments = str(wanted["audience"])[:63], dict(wanted)

        def start(claim: Claim) -> Record:
            request = ExportRequest.from_record({**wanted, "export_id": claim.job_id, "tenant": self._name})
            return {"export": self._services.export_jobs.submit(request), "state": "SUBMITTED"}

        return self._once(entry, key, start)

    @recorded(Action.RUN_JOBS, "jobs cancel")
    def cancel(self, entry: Entry, id_: str) -> Record:
        """Cancel a job of any kind. Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB, IS_DUPLICATE, TOO_LATE."""
        wanted = job_id(id_)
        found = self._find(entry, wanted)
        entry.before = {"state": found.state}
        if isinstance(found, Export):
            export = self._services.export_jobs.cancel(wanted)
            record, already, warnings = any_record(export.export), export.already, export.warnings
        else:
            done = self._services.import_jobs.cancel(wanted)
            record, already, warnings = any_record(done.job), done.already, done.warnings
        entry.after = {"state": record["state"]}
        return {**record, "already": already, "warnings": list(warnings)}

    @recorded(Action.RUN_JOBS, "jobs retry")
    def retry(
        self,
        entry: Entry,
        id_: str,
        *,
        force: bool,
        with_audience_settings: bool,
        allow_shrink: bool = False,
        key: RequestKey,
    ) -> Record:
        """Start a FAILED or CANCELLED job again; returns the id of the new job.

        Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB, NOT_RETRIABLE, NO_SETTINGS, FILE_AT_FAULT, BAD_SPEC, BAD_SOURCE,
        BAD_DESTINATION, and as `once`; `RetriableError` ENGINE_UNAVAILABLE.
        """
        wanted = job_id(id_)
        entry.arguments = {
            "job": wanted,
            "force": force,
            "with_audience_settings": with_audience_settings,
            **({"allow_shrink": True} if allow_shrink else {}),
        }
        found = self._find(entry, wanted)

        def start(claim: Claim) -> Record:
            if isinstance(found, Export):
                if force or with_audience_settings or allow_shrink:
                    raise UserError(
                        "BAD_SPEC",
                        "force, with_audience_settings and allow_shrink are for imports: an export reads no file",
                    )
                started = self._services.export_jobs.retry(found.job_id, new_id=claim.job_id)
                return {"export": started, "state": "SUBMITTED", "retry_of": found.job_id}
            if found.segment is None:
                self._reach().require_source(str(found.source["bucket"]), str(found.source["key"]))
            started = self._services.submission.resubmit(
                found,
                force=force,
                with_audience_settings=with_audience_settings,
                allow_shrink=allow_shrink,
                new_id=claim.job_id,
            )
            return {"job": started, "state": "SUBMITTED", "retry_of": found.job_id}

        return self._once(entry, key, start)

    @recorded(Action.RUN_JOBS, "exports files")
    def export_files(self, entry: Entry, id_: str) -> Record:
        """The files of an export to `download`, each with a request that fetches it within five minutes.

        Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB, NO_FILES; `RetriableError` S3_UNAVAILABLE.
        """
        found = self._find(entry, job_id(id_))
        if not isinstance(found, Export) or not str(found.request.get("to")).startswith(
            self._reach().resolved(DOWNLOAD, "")
        ):
            raise UserError("NO_FILES", f"job {found.job_id} is not an export to `download`", job=found.job_id)
        if found.state != "READY" or found.outcome is None:
            raise UserError("NO_FILES", f"export {found.job_id} is {found.state} and has no files", job=found.job_id)
        bucket, key = split_s3_uri(str(found.outcome["manifest"]))
        manifest = Manifest.parse(self._services.objects.get(bucket, key))
        folder = key.rpartition("/")[0]
        signer = self._services.presigner

        def request(name: str) -> str:
            return signer.get(bucket, f"{folder}/{name}", name=name.rpartition("/")[2]).url

        return {
            "export": found.job_id,
            "version": manifest.version,
            "rows": manifest.rows,
            "manifest": request(key.rpartition("/")[2]),
            "items": [
                {"key": one.key, "rows": one.rows, "bytes": one.bytes, "sha256": one.sha256, "url": request(one.key)}
                for one in manifest.files
            ],
        }

    def _once(self, entry: Entry, key: RequestKey, start: Any) -> Record:
        value = once(self._services, self._caller, self._name, key, start)
        entry.job_id = JobId(value.get("job") or value["export"])
        return value

    def _find(self, entry: Entry, wanted: JobId) -> AnyJob:
        found = self._services.all_jobs.find(wanted, tenant=self._name)
        if found is None:
            raise unknown_job(wanted)
        entry.object, entry.job_id = found.audience[:63], wanted
        return found

    def _source(self, order: ImportOrder) -> str:
        if order.upload is not None:
            upload = stored_upload(self._services, self._name, order.upload)
            return s3_uri(self._services.settings.staging_bucket, upload.key)
        source = str(order.source)
        self._reach().require_source(*source_of(self._services.settings, self._name, source))
        return source
