"""Which objects may be imported: the inbox, uploads of the same tenant, and buckets outside Muster.

The lake and staging may not: they hold rows of every tenant.
"""

from orchestration.platform.settings import Settings
from schemas.errors import UserError
from schemas.layout import UPLOADS_PREFIX, s3_uri


def require_source(settings: Settings, tenant: str | None, bucket: str, key: str) -> None:
    """Raises `UserError` BAD_SOURCE. Without a tenant, no upload is a source.

    `key` may have placeholders (of schedules).
    """
    if bucket not in {settings.lake_bucket, settings.staging_bucket}:
        return
    # A server that resolves dots, as a file system does, would leave the prefix.
    dotted = any(part in {".", ".."} for part in key.split("/"))
    uploaded = bucket == settings.staging_bucket and tenant is not None and key.startswith(f"{UPLOADS_PREFIX}{tenant}/")
    if uploaded and not dotted:
        return
    uri = s3_uri(bucket, key)[:200]
    raise UserError(
        "BAD_SOURCE",
        f"{uri} is in a bucket of Muster's own data, which cannot be imported; import a local file, or an object in "
        f"the inbox (s3://{settings.inbox_bucket}) or in a bucket of yours",
        uri=uri,
    )


def require_place(settings: Settings, tenant: str, bucket: str, key: str) -> None:
    """For objects that a tenant names to the service: its uploads, and its folder of the inbox. Raises BAD_SOURCE.

    Muster's credentials reach more than a tenant may read.
    """
    inbox = f"{settings.inbox_prefix}{tenant}/"
    folder = {settings.staging_bucket: f"{UPLOADS_PREFIX}{tenant}/", settings.inbox_bucket: inbox}.get(bucket)
    dotted = any(part in {".", ".."} for part in key.split("/"))
    if folder is None or dotted or not key.startswith(folder):
        place = s3_uri(settings.inbox_bucket, inbox)
        raise UserError(
            "BAD_SOURCE", f"{s3_uri(bucket, key)[:200]} is not in a place of tenant {tenant}, such as {place}"
        )


def require_in_inbox(settings: Settings, bucket: str, key: str) -> None:
    """For objects that came by an event. Raises `UserError` NOT_IN_INBOX."""
    if bucket != settings.inbox_bucket or not key.startswith(settings.inbox_prefix):
        raise UserError(
            "NOT_IN_INBOX",
            f"{s3_uri(bucket, key)} is not in the inbox, {s3_uri(settings.inbox_bucket, settings.inbox_prefix)}; use "
            "`muster import` for objects elsewhere",
            bucket=bucket,
            key=key,
        )
