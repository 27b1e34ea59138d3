"""FinishExport: check that no group is missing and the digests add up to the version's, then write the manifest."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.sinks.exporting import GroupWritten, finish, manifest_of
from connectors.storage.access import S3Access
from orchestration.catalog.records import Export, ExportGroup, JobError
from orchestration.kinds.export import topics
from orchestration.kinds.export.clean_up import clean_up
from orchestration.kinds.export.destinations import destination_of, order_of, request_of
from orchestration.kinds.export.topics import is_topic
from orchestration.kinds.records import ExportRecords, View
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Settings
from schemas.errors import FatalError, MusterError, UserError
from schemas.ids import JobId
from schemas.manifest import MANIFEST_NAME, Manifest
from schemas.records import as_record, from_record
from segmentation.versions import VersionStore

_log = logging.getLogger(__name__)


def finish_export(export_id: JobId, *, records: ExportRecords, versions: VersionStore, s3: S3Access) -> View:
    """WRITING -> FINISHING -> READY, or FAILED if the manifest is refused.

    Raises the `UserError` or `FatalError` of a group that was given up.
    """
    export = records.exports.get(export_id)
    if export.state not in {"WRITING", "FINISHING"}:
        return records.view(export)
    groups = records.exports.groups(export_id)
    if export.state == "WRITING":
        _require_all(groups)
        _, export = records.exports.move(export_id, "FINISHING", now_ms=now_ms(), only_from={"WRITING"})
        if export.state != "FINISHING":
            return records.view(export)  # cancelled between our read and our move
    written = [group.record for group in groups if group.record is not None]
    try:
        outcome = _finish(export, written, versions=versions, s3=s3, settings=records.settings)
    except (UserError, FatalError) as exc:
        _, export = records.exports.fail(export_id, JobError.of(exc), now_ms=now_ms(), uncommitted=True)
        return records.view(export)
    _, export = records.exports.move(
        export_id,
        "READY",
        now_ms=now_ms(),
        cause=f"{outcome['rows']} rows",
        only_from={"FINISHING"},
        outcome=outcome,
    )
    try:
        clean_up(export, versions=versions, s3=s3, settings=records.settings)
    except MusterError as exc:  # garbage collection retries it
        _log.warning("cannot clean up after export %s: %s", export_id, exc)
    return records.view(export)


def _finish(
    export: Export, written: Sequence[Mapping[str, Any]], *, versions: VersionStore, s3: S3Access, settings: Settings
) -> dict[str, object]:
    request = request_of(export)
    if is_topic(request):
        return topics.finish(settings.kafka_bootstrap, export, request, order_of(versions, export, request), written)
    destination = destination_of(request, s3=s3, settings=settings)
    found = destination.manifest()
    # An earlier try may have died after it wrote the manifest: from then on, depend on nothing that may be gone by now.
    manifest = None if found is None else manifest_of(export.job_id, found)
    if manifest is None:
        order = order_of(versions, export, request)
        manifest = finish(order, [from_record(GroupWritten, record) for record in written], destination)
    return _outcome(manifest, destination.uri(MANIFEST_NAME))


def _require_all(groups: Sequence[ExportGroup]) -> None:
    for group in groups:
        if group.error is not None:
            raise MusterError.from_record(as_record(group.error))
    if missing := [group.number for group in groups if group.record is None]:
        raise FatalError("GROUP_NOT_WRITTEN", f"groups {missing[:20]} were not written, and no cause is recorded")


def _outcome(manifest: Manifest, uri: str) -> dict[str, object]:
    return {
        "manifest": uri,
        "version": manifest.version,
        "rows": manifest.rows,
        "files": len(manifest.files),
        "bytes": sum(file.bytes for file in manifest.files),
        "digest": str(manifest.digest),
        "formulas_found": manifest.formulas_found,
        "kept": str(manifest.kept),
        **({} if manifest.selection is None else manifest.selection.omitted_rows()),
    }
