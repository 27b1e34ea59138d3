"""Uploads in parts that clients send themselves, by presigned requests."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from connectors.storage.access import DEFAULT_OPTIONS, S3Access, new_client
from connectors.storage.errors import translated
from schemas.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef


class Parts:
    """Begins, completes and aborts uploads in parts. Thread-safe. Every method raises as `ObjectStore` does."""

    def __init__(self, access: S3Access) -> None:
        self._access = access

    @cached_property
    def _client(self) -> "S3Client":
        return new_client(self._access, DEFAULT_OPTIONS)

    def begin(self, bucket: str, key: str, content_type: str) -> str:
        """Begin an upload; returns S3's id of it."""
        with translated(bucket, key):
            return self._client.create_multipart_upload(Bucket=bucket, Key=key, ContentType=content_type)["UploadId"]

    def sizes(self, bucket: str, key: str, multipart: str) -> Mapping[int, tuple[int, str]]:
        """Size and ETag of each part that has arrived, by number. Raises `UserError` SOURCE_GONE."""
        found: dict[int, tuple[int, str]] = {}
        with translated(bucket, key):
            pages = self._client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=multipart)
            for page in pages:
                found |= {part["PartNumber"]: (part["Size"], part["ETag"]) for part in page.get("Parts", ())}
        return found

    def complete(self, bucket: str, key: str, multipart: str, etags: Mapping[int, str]) -> None:
        """Make the object of its parts."""
        parts: list[CompletedPartTypeDef] = [{"PartNumber": n, "ETag": etag} for n, etag in sorted(etags.items())]
        with translated(bucket, key):
            self._client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=multipart, MultipartUpload={"Parts": parts}
            )

    def abort(self, bucket: str, key: str, multipart: str) -> None:
        """Remove the parts; no error if the upload has ended."""
        try:
            with translated(bucket, key):
                self._client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=multipart)
        except UserError as exc:
            if exc.code != "SOURCE_GONE":
                raise
