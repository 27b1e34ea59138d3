"""Pins many objects of a bucket by listing them instead of asking for each. Errors are boto3's."""

from collections.abc import Iterator
from datetime import UTC
from typing import TYPE_CHECKING, Any

from connectors.storage.pinned import SourceObject

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def list_pinned(client: "S3Client", bucket: str, prefix: str) -> Iterator[SourceObject]:
    """The current version of each object whose key begins with `prefix`, by key; as HEAD describes it.

    Needs the right to list versions: without its version, an object of a bucket with versioning would be another
    source than the same object imported alone.
    """
    plain = list_unversioned(client, bucket, prefix)
    ahead: SourceObject | None = None
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Versions", ()):
            if not entry["IsLatest"]:
                continue
            found = _pinned(bucket, entry, entry.get("VersionId"))
            if found.version_id is None and "-" in found.etag:  # SeaweedFS may name another ETag here than HEAD does
                while ahead is None or ahead.key < found.key:
                    if (ahead := next(plain, None)) is None:
                        break
                if ahead is not None and ahead.key == found.key:
                    found = ahead
            yield found


def list_unversioned(client: "S3Client", bucket: str, prefix: str) -> Iterator[SourceObject]:
    """As `list_pinned`, for a bucket without versioning."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            yield _pinned(bucket, entry, None)


def _pinned(bucket: str, entry: Any, version_id: str | None) -> SourceObject:
    return SourceObject(
        bucket=bucket,
        key=entry["Key"],
        version_id=version_id if version_id not in ("", "null") else None,
        etag=entry["ETag"],
        size=entry["Size"],
        last_modified=entry["LastModified"].astimezone(UTC).replace(microsecond=0),  # HEAD answers whole seconds
    )
