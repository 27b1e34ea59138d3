"""Listing and deleting objects, the same for every S3 client. Errors are boto3's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

DELETE_BATCH: Final = 1000  # limit of one DeleteObjects request


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One entry of a listing; `size` in bytes."""

    key: str
    size: int
    last_modified: datetime


def list_objects(client: "S3Client", bucket: str, prefix: str) -> Iterator[ObjectInfo]:
    """Objects whose key begins with `prefix`, ordered by key."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            yield ObjectInfo(
                key=entry["Key"],
                size=entry["Size"],
                last_modified=entry["LastModified"].astimezone(UTC),
            )


def exists(client: "S3Client", bucket: str, key: str) -> bool:
    """Whether an object exists."""
    return any(entry.key == key for entry in list_objects(client, bucket, key))


def delete_objects(client: "S3Client", bucket: str, keys: Sequence[str]) -> None:
    """Delete objects; missing ones are no error. Raises OSError if the store refuses any of them."""
    for start in range(0, len(keys), DELETE_BATCH):
        batch = keys[start : start + DELETE_BATCH]
        answer = client.delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
        )
        if failed := answer.get("Errors"):
            first = failed[0]
            raise OSError(f"{len(failed)} objects were not deleted, first {first.get('Key')}: {first.get('Code', '')}")
