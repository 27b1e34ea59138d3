"""Notices folders of the inbox whose files would be imported by nobody, for audiences that import folders as sets.

1. A folder without `_SUCCESS`, a day after its last file: whoever writes it has failed, or writes no `_SUCCESS`.
2. Files that came after the `_SUCCESS` of their folder: its import did not wait for them.

The recipients of the audience are notified once, and again if more files come.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from connectors.storage.listing import ObjectInfo
from connectors.storage.objects import ObjectStore
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.records import Audience
from orchestration.kinds.inbox import InboxFolder, inbox_of
from orchestration.notifications.notices import Notices
from orchestration.platform.settings import Settings
from schemas.errors import MusterError, UserError
from schemas.file_lists import SUCCESS
from schemas.layout import s3_uri
from schemas.topics import HOUR_MS

UNFINISHED_MS: Final = 24 * HOUR_MS
FORGOTTEN_MS: Final = 7 * 24 * HOUR_MS
"""Folders whose last file is older are left alone: they were there before the audience imported folders as sets."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxFolders:
    """Looks through the inboxes of audiences that import folders as sets."""

    audiences: AudienceStore
    objects: ObjectStore
    notices: Notices
    settings: Settings

    def tick(self, now_ms: int) -> None:
        """Notify of what is due. Raises `RetriableError` CATALOG_UNAVAILABLE; other outages are logged."""
        for audience in self.audiences.all():
            if audience.folders == "sets":
                try:
                    self._look_at(audience, now_ms)
                except MusterError as exc:
                    _log.warning("cannot look at the inbox of %s/%s: %s", audience.tenant, audience.name, exc)

    def _look_at(self, audience: Audience, now_ms: int) -> None:
        bucket = self.settings.inbox_bucket
        own = inbox_of(self.settings.inbox_prefix, audience.tenant, audience.name)
        folders: dict[str, list[ObjectInfo]] = {}
        for entry in self.objects.list(bucket, own):
            if (folder := InboxFolder.of(entry.key, own)) is not None:
                folders.setdefault(folder.key, []).append(entry)
        for key, entries in folders.items():
            if (fault := fault_of(s3_uri(bucket, key), key, entries, now_ms)) is not None:
                last = max(entry.last_modified for entry in entries)
                self.notices.write_for_folder(audience, s3_uri(bucket, key), last, fault, now_ms)


def fault_of(uri: str, key: str, entries: Sequence[ObjectInfo], now_ms: int) -> UserError | None:
    """Why files of a folder would not be imported. None if all are, or may be, or the folder is old."""
    last = max(entry.last_modified for entry in entries)
    if now_ms - _ms(last) > FORGOTTEN_MS:
        return None
    ended = next((entry.last_modified for entry in entries if entry.key == key + SUCCESS), None)
    if ended is None:
        if now_ms - _ms(last) <= UNFINISHED_MS:
            return None
        return UserError(
            "FOLDER_UNFINISHED",
            f"{uri} has no {SUCCESS}, and no file has come for 24 hours: its {len(entries)} objects are not imported. "
            f"Write {SUCCESS}, or import them with `muster import {uri}`",
            objects=len(entries),
        )
    late = sorted(entry.key for entry in entries if entry.last_modified > ended and entry.size)
    if not late:
        return None
    return UserError(
        "LATE_FILES",
        f"{len(late)} files came after the {SUCCESS} of {uri}, such as {late[0].removeprefix(key)}, and are not in its "
        f"import. Write {SUCCESS} again to import the folder with them",
        files=len(late),
    )


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
