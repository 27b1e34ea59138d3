"""Checks of `muster fsck` in the archive of events and profiles: its files, and the lists of users beside them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from connectors.lake.archive_tables import ArchivedFile
from orchestration.operations.findings import Finding
from schemas.errors import FatalError
from schemas.ids import DEFAULT_TENANT
from schemas.layout import activity_prefix, split_s3_uri
from schemas.topics import ACTIVITY_TOPICS

if TYPE_CHECKING:
    from connectors.lake.archive import ActivityArchive
    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.platform.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFsck:
    """The part of `Fsck` that reads the archive."""

    archive: "ActivityArchive"
    audiences: "AudienceStore"
    objects: "ObjectStore"
    settings: "Settings"

    def run(self, *, repair: bool, deep: bool) -> Iterator[Finding]:
        """Check that files exist, offsets do not overlap within a tenant and partition, and lists of users are right.

        Files of unknown tenants are noted: earlier releases stored such records.

        Raises `RetriableError` CATALOG_UNAVAILABLE, LAKE_UNAVAILABLE.
        """
        known = {DEFAULT_TENANT, *self.audiences.tenants()}
        for topic in ACTIVITY_TOPICS:
            subject = f"archive of {topic}"
            try:
                files = self.archive.files(topic, with_users=True)
            except FatalError as exc:
                yield Finding(severity="wrong", code=exc.code, subject=subject, message=exc.message)
                continue
            # Listed after the table was read: files replaced in the meantime survive for a grace period.
            listed = self.objects.list(self.settings.lake_bucket, activity_prefix(topic)) if files else ()
            stored = {entry.key: entry.size for entry in listed}
            for file in files:
                size = stored.get(split_s3_uri(file.uri)[1])
                if size is None:
                    yield Finding(severity="wrong", code="FILE_MISSING", subject=subject, message=f"{file.uri} is gone")
                elif size != file.bytes:
                    message = f"{file.uri} has {size} bytes, not {file.bytes}"
                    yield Finding(severity="wrong", code="FILE_CHANGED", subject=subject, message=message)
            for before, after in pairwise(files):
                same = (before.key.tenant, before.key.partition) == (after.key.tenant, after.key.partition)
                if same and after.key.first_offset < before.key.end_offset:
                    message = f"{after.uri} begins before {before.uri} ends: records are stored twice"
                    yield Finding(severity="wrong", code="OFFSETS_OVERLAP", subject=subject, message=message)
            for tenant in sorted({file.key.tenant for file in files} - known):
                message = (
                    f"records of tenant {tenant} are stored, but the tenant does not exist; creating it "
                    "would give it these records"
                )
                yield Finding(severity="note", code="TENANT_MISSING", subject=subject, message=message)
            yield from self._check_users(subject, files, repair=repair, deep=deep)

    def _check_users(
        self, subject: str, files: Iterable[ArchivedFile], *, repair: bool, deep: bool
    ) -> Iterator[Finding]:
        """Remove wrong lists: maintenance writes them again, and until then the rows are read."""
        for file in files:
            if file.users is None or (fault := self.archive.users_fault(file, deep=deep)) is None:
                continue
            if repair:
                self.objects.delete(*split_s3_uri(file.users))
            message = f"{file.users} is not the user list of its file: {fault}"
            yield Finding(severity="wrong", code="USERS_WRONG", subject=subject, message=message, repaired=repair)
