"""Objects in the staging bucket that no job refers to any more, looked for once an hour.

1. What is staged for an import that has ended: a frozen worker may stage it after the job was cleaned up, and announce
   nothing (else see `import_progress`). That of an unknown import is removed once it is older than any job may be.
2. Uploaded files: kept while any job reads them, and `upload_keep_hours` after a job that failed or was cancelled, so
   that it can be retried. An upload without a job is removed as in 1.
3. Members that were written for a snapshot, a check or a feed, once they are older than any job may be; those with
   which a feed begins are kept until it has delivered them.
"""

import logging
import re
from typing import Final

from connectors.storage.listing import ObjectInfo
from connectors.storage.objects import ObjectStore
from orchestration.catalog.feeds import FeedStore
from orchestration.catalog.jobs import JobStore
from orchestration.platform.settings import Settings
from schemas.errors import MusterError
from schemas.ids import JobId
from schemas.layout import CUTS_PREFIX, IMPORTS_PREFIX, INTENTS_PREFIX, UPLOADS_PREFIX, cut_prefix
from schemas.topics import HOUR_MS, MAX_JOB_AGE_S

GRACE_MS: Final = HOUR_MS // 6
"""By then an ended job is cleaned up, and its workers have staged what they held."""
_IMPORT: Final = re.compile(rf"(?:{IMPORTS_PREFIX}|{INTENTS_PREFIX}[^/]+/\d+/)([0-9a-z]{{26}})\b")
_log = logging.getLogger(__name__)


class Orphans:
    """Removes orphans."""

    def __init__(self, objects: ObjectStore, jobs: JobStore, feeds: FeedStore, settings: Settings) -> None:
        self._objects = objects
        self._jobs = jobs
        self._feeds = feeds
        self._settings = settings

    def tick(self, now_ms: int) -> None:
        """Remove what is due. An unavailable store is logged; the next tick tries again."""
        objects, bucket = self._objects, self._settings.staging_bucket
        ended: dict[str, bool] = {}
        orphans: list[str] = []
        try:
            for prefix in (IMPORTS_PREFIX, INTENTS_PREFIX):
                for entry in objects.list(bucket, prefix):
                    if (found := _IMPORT.match(entry.key)) is None:
                        continue
                    owner = found[1]
                    if owner not in ended:
                        ended[owner] = self._import_has_ended(JobId(owner), entry, now_ms)
                    if ended[owner]:
                        orphans.append(entry.key)
            orphans += [
                e.key for e in objects.list(bucket, UPLOADS_PREFIX) if self._upload_is_unneeded(bucket, e, now_ms)
            ]
            cuts = [e.key for e in objects.list(bucket, CUTS_PREFIX) if _age_ms(e, now_ms) > MAX_JOB_AGE_S * 1000]  # 3
            held = tuple(map(cut_prefix, self._feeds.cuts())) if cuts else ()
            orphans += [key for key in cuts if not key.startswith(held)]
            for key in orphans:
                objects.delete(bucket, key)
        except MusterError as exc:
            _log.warning("cannot remove all orphans in %s: %s", bucket, exc)
            return
        if orphans:
            _log.info("removed %d orphans from %s, the first %s", len(orphans), bucket, orphans[0])

    def _import_has_ended(self, owner: JobId, entry: ObjectInfo, now_ms: int) -> bool:  # 1
        job = self._jobs.find(owner)
        if job is None:
            return _age_ms(entry, now_ms) > MAX_JOB_AGE_S * 1000
        return job.finished_at_ms is not None and now_ms - job.finished_at_ms > GRACE_MS

    def _upload_is_unneeded(self, bucket: str, entry: ObjectInfo, now_ms: int) -> bool:  # 2
        readers = self._jobs.by_object(bucket, entry.key)
        if not readers:
            return _age_ms(entry, now_ms) > MAX_JOB_AGE_S * 1000
        keep_ms = self._settings.upload_keep_hours * HOUR_MS
        return all(job.finished_at_ms is not None and now_ms - job.finished_at_ms > keep_ms for job in readers)


def _age_ms(entry: ObjectInfo, now_ms: int) -> int:
    return now_ms - int(entry.last_modified.timestamp() * 1000)
