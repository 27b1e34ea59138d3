"""Cleans up after an ended export: releases what it held, removes files that its manifest does not name."""

import logging

from connectors.sinks.destinations import Destination
from connectors.sinks.export_order import file_stem
from connectors.sinks.exporting import manifest_of
from connectors.storage.access import S3Access
from orchestration.catalog.records import Export
from orchestration.kinds.export.destinations import destination_of, request_of
from orchestration.kinds.export.topics import abort, is_topic
from orchestration.platform.settings import Settings
from schemas.errors import UserError
from schemas.manifest import MANIFEST_NAME
from segmentation.versions import VersionStore

_log = logging.getLogger(__name__)


def clean_up(export: Export, *, versions: VersionStore, s3: S3Access, settings: Settings) -> None:
    """Release its versions, and remove its files unless it is READY. Idempotent. Raises `RetriableError`."""
    for audience in {lease.audience for lease in export.leases}:
        versions.release(audience, export.job_id)
    if export.state == "READY" or not export.leases:
        return
    request = request_of(export)
    if is_topic(request):
        try:
            abort(settings.kafka_bootstrap, export, request)
        except UserError as exc:  # the topic refuses, perhaps not for the first time
            _log.warning("cannot notify the receivers of export %s of its end: %s", export.job_id, exc)
        return
    stem = file_stem(export.audience, export.leases[0].version, export.job_id)
    try:
        destination = destination_of(request, s3=s3, settings=settings)
        if _may_be_complete(export, destination):
            _log.warning(
                "the files of export %s are kept: its manifest may exist, although the export is %s",
                export.job_id,
                export.state,
            )
            return
        for key in list(destination.keys()):
            if key.rpartition("/")[2].startswith(stem):
                destination.remove(key)
    except UserError as exc:  # the destination refuses, perhaps not for the first time: nothing more can be done there
        _log.warning("some files of export %s may remain: %s", export.job_id, exc)


def _may_be_complete(export: Export, destination: Destination) -> bool:
    """Whether a receiver may have started from its manifest.

    The answer to the write may have been lost before the error, or the catalog is a backup from before the end.
    """
    found = destination.manifest()
    if found is not None:
        return manifest_of(export.job_id, found) is not None
    return MANIFEST_NAME in set(destination.keys())  # present, but not readable for us
