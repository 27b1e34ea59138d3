"""Work that takes longer than a request can wait: it runs on, and the caller that began it fetches the result later."""

from collections.abc import Sequence
from typing import Any

from connectors.sinks.addresses import s3_object
from orchestration.access.bodies.operations import NewDifference, NewFile, NewSegmentCheck
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.manifests import settings_of_manifest
from orchestration.access.policy import Action
from orchestration.access.request_ids import operation_id
from orchestration.access.sessions import check_again
from orchestration.access.uploading import list_of_uploads, stored_upload
from orchestration.access.views.tenant import TenantView
from orchestration.catalog.operations import unknown_operation
from orchestration.kinds.consent import require_no_lists
from orchestration.kinds.export.request import moment_of
from orchestration.operations.submit import form_of, source_of
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.readers.questions import (
    CheckSegment,
    CompareVersions,
    InspectObject,
    Question,
    TryImport,
    WriteFile,
)
from orchestration.records.operations import Operation, OperationKind
from schemas.columns import ImportKind
from schemas.file_lists import SourceForm
from schemas.ids import Version, segment_name
from schemas.import_formats import ImportFormat
from schemas.import_targets import target_name
from schemas.layout import s3_uri


class Operations(TenantView):
    """Operations as one caller sees them: only their own questions, and only while they may still ask."""

    @reads(Action.OWN_ACCOUNT, "GET /operations/{operation}")
    def get_operation(self, operation: str) -> Operation:
        """An operation with its result or error; kept for a day. Questions: only the caller's own."""
        return self._own(operation)

    @reads(Action.OWN_ACCOUNT, "GET /checks/{operation}")
    def get_check(self, operation: str) -> Operation:
        """A check of a file with its result or error; kept for a day."""
        return self._own(operation)

    @recorded(
        Action.READ_USERS,
        "audiences diff",
        "POST /audiences/{audience}/differences",
        status=202,
        problems=("READERS_BUSY",),
        client="begin_difference",
    )
    def compare_versions(self, entry: Entry, audience: str, body: NewDifference) -> Operation:
        """Compare two versions: members added, removed, changed and kept."""
        entry.object = audience[:100]
        entry.arguments = body.model_dump(include={"earlier", "later", "sample"})
        if body.values:
            entry.arguments = {**entry.arguments, "values": True}
        found = self._audience(audience)
        question = CompareVersions(
            tenant=self._name,
            audience=found.name,
            earlier=Version(body.earlier),
            later=Version(body.later),
            sample=body.sample,
            after=body.after,
            change=body.change,
            values=body.values,
        )
        return self._begin(question, "difference", Action.READ_USERS)

    @recorded(
        Action.RUN_JOBS,
        "export",
        "POST /audiences/{audience}/files",
        status=202,
        problems=("BAD_DESTINATION", "BAD_TIME", "BAD_URI", "CONSENT_APPLIES", "READERS_BUSY"),
        client="begin_file",
    )
    def write_file(self, entry: Entry, audience: str, body: NewFile) -> Operation:
        """Write a version as one Parquet file, whose digest is compared with that of the version."""
        entry.object, entry.arguments = audience[:63], {**body.model_dump(), "to": body.to[:1024]}
        found = self._audience(audience)
        moment_of(body.as_of)
        s3_object(body.to)
        self._allowed_locations().require_destination(body.to, None)
        require_no_lists(self._services.consent.of(self._name).lists, body.to)
        question = WriteFile(
            tenant=self._name,
            audience=found.name,
            version=body.version,
            as_of=body.as_of,
            to=body.to,
            overwrite=body.overwrite,
        )
        return self._begin(question, "file", Action.RUN_JOBS)

    @recorded(
        Action.READ_USERS,
        "segments check",
        "POST /segments/{segment}/checks",
        status=202,
        problems=("READERS_BUSY",),
        client="begin_segment_check",
    )
    def check_segment(self, entry: Entry, segment: str, body: NewSegmentCheck) -> Operation:
        """Compare the members that workers have with the rule over the archive, at the same offsets and instant."""
        entry.object = segment[:100]
        found = self._services.segments.get(self._name, segment_name(segment))
        question = CheckSegment(tenant=self._name, segment=found.name, timeout_s=body.timeout_s, engine=body.engine)
        return self._begin(question, "segment_check", Action.READ_USERS)

    @recorded(Action.RUN_JOBS, "inspect")
    def inspect(self, entry: Entry, uri: str, *, kind: ImportKind, format_: ImportFormat | None) -> Operation:
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
        listed: str | None = None,
        upload: str | None = None,
        uploads: Sequence[str] = (),
        manifest: str | None = None,
    ) -> Operation:
        """Begin a dry run of an import of an object or an upload, or of several as one.

        `uri` may be a prefix, `listed` a list of files. `manifest`: of the export that wrote the file.

        Raises `UserError` BAD_NAME, BAD_URI, BAD_SOURCE, UNKNOWN_UPLOAD, UPLOAD_UNFINISHED, and as
        `settings_of_manifest`.
        """
        named = uri or listed or upload or ", ".join(uploads)
        entry.object, entry.arguments = target[:100], {"source": named[:1024]}
        form: SourceForm = "list" if listed or uploads else form_of(uri or "")
        if upload is not None:
            uri = self._uri_of(upload)
        elif uploads:
            uri = list_of_uploads(self._services, self._name, uploads, fresh_id())
        else:
            self._require_source(uri := uri or listed or "")
        if manifest is not None:
            spec = {**settings_of_manifest(self._services, self._allowed_locations(), manifest, uri), **spec}
        question = TryImport(tenant=self._name, uri=uri, form=form, target=target_name(target), spec=spec)
        return self._begin(question, "dry_run", Action.RUN_JOBS)

    def _own(self, operation: str) -> Operation:
        wanted = operation_id(operation)
        found = self._services.operations.get(self._name, wanted)
        if found.principal_id not in {None, self._caller.principal_id}:
            raise unknown_operation(wanted)
        self.require(Action(found.action))
        return found.shown(now_ms())

    def _uri_of(self, upload: str) -> str:
        return s3_uri(self._services.settings.staging_bucket, stored_upload(self._services, self._name, upload).key)

    def _require_source(self, uri: str) -> None:
        self._allowed_locations().require_source(*source_of(self._services.settings, self._name, uri))

    def _begin(self, question: Question, kind: OperationKind, action: Action) -> Operation:
        begun = self._services.background.start(
            question,
            kind=kind,
            action=action.value,
            tenant=self._name,
            principal_id=self._caller.principal_id,
            check=lambda: check_again(self._services, self._caller),
        )
        return begun.shown(now_ms())
