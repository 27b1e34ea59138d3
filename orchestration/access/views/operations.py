"""Work that takes longer than a request can wait: it runs on, and the caller that began it fetches the result later."""

from typing import Any, Literal

from connectors.sinks.addresses import s3_object
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.manifests import settings_of_manifest
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.request_ids import operation_id
from orchestration.access.sessions import check_again
from orchestration.access.uploading import stored_upload
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.operations import Operation, OperationKind, unknown_operation
from orchestration.kinds.export.request import moment_of
from orchestration.operations.submit import source_of
from orchestration.platform.clock import iso, now_ms
from orchestration.readers.background import lost
from orchestration.readers.questions import (
    CheckSegment,
    CompareVersions,
    InspectObject,
    Question,
    TryImport,
    WriteFile,
)
from schemas.columns import ImportKind
from schemas.ids import Version, audience_name, segment_name
from schemas.import_formats import ImportFormat
from schemas.import_targets import target_name
from schemas.layout import s3_uri


class OperationsView(TenantView):
    """Operations as one caller sees them: only their own questions, and only while they may still ask."""

    @reads(Action.OWN_ACCOUNT)
    def operation(self, id_: str) -> Record:
        """An operation with its result or error. Raises `UserError` BAD_JOB_ID, UNKNOWN_OPERATION."""
        wanted = operation_id(id_)
        found = self._services.operations.get(self._name, wanted)
        if found.principal_id not in {None, self._caller.principal.principal_id}:
            raise unknown_operation(wanted)
        self.require(Action(found.action))
        return operation_record(found)

    @recorded(Action.READ_USERS, "audiences diff")
    def compare_versions(
        self,
        entry: Entry,
        audience: str,
        *,
        earlier: int,
        later: int,
        sample: int,
        after: str | None = None,
        change: Literal["added", "removed", "changed"] | None = None,
        values: bool = False,
    ) -> Record:
        """Begin to compare two versions, as `CompareVersions`. Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE."""
        entry.object, entry.arguments = audience[:100], {"earlier": earlier, "later": later, "sample": sample}
        if values:
            entry.arguments = {**entry.arguments, "values": True}
        found = self._services.audiences.get(self._name, audience_name(audience))
        question = CompareVersions(
            tenant=self._name,
            audience=found.name,
            earlier=Version(earlier),
            later=Version(later),
            sample=sample,
            after=after,
            change=change,
            values=values,
        )
        return self._begin(question, "difference", Action.READ_USERS)

    @recorded(Action.RUN_JOBS, "export")
    def write_file(
        self, entry: Entry, audience: str, *, to: str, version: int | None, as_of: str | None, overwrite: bool
    ) -> Record:
        """Begin to write a version as one Parquet file.

        Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE, BAD_TIME, BAD_URI, BAD_DESTINATION.
        """
        entry.object = audience[:63]
        entry.arguments = {"to": to[:1024], "version": version, "as_of": as_of, "overwrite": overwrite}
        found = self._services.audiences.get(self._name, audience_name(audience))
        moment_of(as_of)
        s3_object(to)
        self._reach().require_destination(to, None)
        question = WriteFile(
            tenant=self._name, audience=found.name, version=version, as_of=as_of, to=to, overwrite=overwrite
        )
        return self._begin(question, "file", Action.RUN_JOBS)

    @recorded(Action.READ_USERS, "segments check")
    def check_segment(self, entry: Entry, segment: str, *, timeout_s: float) -> Record:
        """Begin to compare the members of a segment with its rule. Raises `UserError` BAD_NAME, UNKNOWN_SEGMENT."""
        entry.object = segment[:100]
        found = self._services.segments.get(self._name, segment_name(segment))
        question = CheckSegment(tenant=self._name, segment=found.name, timeout_s=timeout_s)
        return self._begin(question, "segment_check", Action.READ_USERS)

    @recorded(Action.RUN_JOBS, "inspect")
    def inspect(self, entry: Entry, uri: str, *, kind: ImportKind, format_: ImportFormat | None) -> Record:
        """Begin to inspect a file in the object store. Raises `UserError` BAD_URI, BAD_SOURCE."""
        entry.object, entry.arguments = "checks", {"source": uri[:1024], "kind": kind}
        self._require_source(uri)
        question = InspectObject(tenant=self._name, uri=uri, kind=kind, format=format_)
        return self._begin(question, "inspection", Action.RUN_JOBS)

    @recorded(Action.RUN_JOBS, "import --dry-run")
    def try_import(
        self,
        entry: Entry,
        uri: str | None,
        *,
        target: str,
        spec: dict[str, Any],
        upload: str | None = None,
        manifest: str | None = None,
    ) -> Record:
        """Begin a dry run of an import of an object or an upload. `manifest`: of the export that wrote the file.

        Raises `UserError` BAD_NAME, BAD_URI, BAD_SOURCE, UNKNOWN_UPLOAD, UPLOAD_UNFINISHED, and as
        `settings_of_manifest`.
        """
        entry.object, entry.arguments = target[:100], {"source": (uri or upload or "")[:1024]}
        if upload is not None:
            uri = self._uri_of(upload)
        else:
            self._require_source(uri := uri or "")
        if manifest is not None:
            spec = {**settings_of_manifest(self._services, self._reach(), manifest, uri), **spec}
        question = TryImport(tenant=self._name, uri=uri, target=target_name(target), spec=spec)
        return self._begin(question, "dry_run", Action.RUN_JOBS)

    def _uri_of(self, upload: str) -> str:
        return s3_uri(self._services.settings.staging_bucket, stored_upload(self._services, self._name, upload).key)

    def _require_source(self, uri: str) -> None:
        self._reach().require_source(*source_of(self._services.settings, self._name, uri))

    def _begin(self, question: Question, kind: OperationKind, action: Action) -> Record:
        return operation_record(
            self._services.background.start(
                question,
                kind=kind,
                action=action.value,
                tenant=self._name,
                principal_id=self._caller.principal.principal_id,
                check=lambda: check_again(self._services, self._caller),
            )
        )


def operation_record(one: Operation) -> Record:
    """An operation as plain JSON data."""
    vanished = one.state == "running" and (one.alive_until_ms or 0) < now_ms()
    return {
        "operation": one.operation_id,
        "kind": one.kind,
        "audience": one.audience,
        "state": "failed" if vanished else one.state,
        "result": one.result,
        "error": lost().as_record() if vanished else one.error,
        "created_at": iso(one.created_at_ms),
        "finished_at": None if one.finished_at_ms is None else iso(one.finished_at_ms),
    }
