"""Uploads of clients in the catalog."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.names import lock_tenant
from orchestration.catalog.tables import uploads
from schemas.errors import UserError
from schemas.ids import JobId, TenantName


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An object that a client sends to the staging bucket. `multipart`: S3's id of an upload in parts.

    `stored`: the whole object was seen.
    """

    upload_id: JobId
    tenant: TenantName
    name: str
    content_type: str
    size: int
    key: str
    multipart: str | None = None
    stored: bool = False
    created_at_ms: int


class UploadStore:
    """Uploads. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: Upload, *, most_bytes: int) -> Upload:
        """Add an upload, or return the one with its id. Raises `UserError` TOO_MANY_UPLOADS.

        `most_bytes`: the sizes of all unfinished uploads of the tenant together.
        """
        values = {name: getattr(new, name) for name in new.__dataclass_fields__}
        with self._database.write() as connection:
            lock_tenant(connection, new.tenant)
            if (found := _find(connection, new.tenant, new.upload_id)) is not None:
                return found
            unfinished = (uploads.c.tenant == new.tenant) & uploads.c.stored.is_(False)
            total = connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(uploads.c.size), 0)).where(unfinished))
            if int(total or 0) + new.size > most_bytes:
                raise UserError(
                    "TOO_MANY_UPLOADS",
                    f"unfinished uploads of tenant {new.tenant} would have more than {most_bytes} bytes; finish or "
                    "delete some first",
                    most=most_bytes,
                )
            connection.execute(uploads.insert().values(**values))
        return new

    def get(self, tenant: TenantName, upload_id: JobId) -> Upload:
        """The upload of a tenant with an id. Raises `UserError` UNKNOWN_UPLOAD."""
        with self._database.read() as connection:
            found = _find(connection, tenant, upload_id)
        if found is None:
            raise UserError(
                "UNKNOWN_UPLOAD", f"there is no upload {upload_id}; unfinished ones end after a day", upload=upload_id
            )
        return found

    def put_multipart(self, upload_id: JobId, multipart: str) -> str:
        """Keep S3's id of an upload in parts, unless it has one; returns the one that it has."""
        none_yet = (uploads.c.upload_id == upload_id) & uploads.c.multipart.is_(None)
        with self._database.write() as connection:
            connection.execute(uploads.update().where(none_yet).values(multipart=multipart))
            kept = connection.scalar(sa.select(uploads.c.multipart).where(uploads.c.upload_id == upload_id))
        return str(kept or multipart)

    def put_stored(self, upload_id: JobId) -> None:
        """Note that the whole object was seen."""
        with self._database.write() as connection:
            connection.execute(uploads.update().where(uploads.c.upload_id == upload_id).values(stored=True))

    def delete(self, upload_id: JobId) -> None:
        """Forget an upload."""
        with self._database.write() as connection:
            connection.execute(uploads.delete().where(uploads.c.upload_id == upload_id))

    def begun_before(self, at_ms: int) -> list[Upload]:
        """Uploads that were begun before a time, the oldest first."""
        query = sa.select(uploads).where(uploads.c.created_at_ms < at_ms).order_by(uploads.c.upload_id)
        with self._database.read() as connection:
            return [_upload(row) for row in connection.execute(query).mappings()]


def _find(connection: sa.Connection, tenant: TenantName, upload_id: JobId) -> Upload | None:
    own = (uploads.c.tenant == tenant) & (uploads.c.upload_id == upload_id)
    row = connection.execute(sa.select(uploads).where(own)).mappings().first()
    return None if row is None else _upload(row)


def _upload(row: Any) -> Upload:
    return Upload(**row)
