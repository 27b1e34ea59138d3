"""Presigned requests: a client sends or fetches one object of ours with them, and holds no key.

What is signed must be sent as it was signed, so a presigned PUT stores an object of exactly this size and type, once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from connectors.storage.access import DEFAULT_OPTIONS, S3Access, new_client
from connectors.storage.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PUT_S: Final = 15 * 60
GET_S: Final = 5 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Presigned:
    """A request. `headers` must be sent as they are."""

    method: str
    url: str
    headers: Mapping[str, str]


class Presigner:
    """Signs requests to an S3 endpoint, without calling it. `access`: the endpoint that clients reach. Thread-safe.

    Every method raises `UserError` ACCESS_DENIED without credentials.
    """

    def __init__(self, access: S3Access) -> None:
        self._access = access

    @cached_property
    def _client(self) -> "S3Client":
        return new_client(self._access, DEFAULT_OPTIONS)

    def put(self, bucket: str, key: str, *, size: int, content_type: str) -> Presigned:
        """A PUT of an object that does not exist yet."""
        given = {"ContentLength": size, "ContentType": content_type, "IfNoneMatch": "*"}
        url = self._sign("put_object", {"Bucket": bucket, "Key": key, **given}, PUT_S)
        headers = {"Content-Length": str(size), "Content-Type": content_type, "If-None-Match": "*"}
        return Presigned(method="PUT", url=url, headers=headers)

    def part(self, bucket: str, key: str, *, multipart: str, number: int, size: int) -> Presigned:
        """A PUT of one part of an upload in parts."""
        named = {"Bucket": bucket, "Key": key, "UploadId": multipart, "PartNumber": number, "ContentLength": size}
        return Presigned(
            method="PUT", url=self._sign("upload_part", named, PUT_S), headers={"Content-Length": str(size)}
        )

    def get(self, bucket: str, key: str, *, name: str) -> Presigned:
        """A GET that browsers save under a name."""
        shown = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
        named = {"Bucket": bucket, "Key": key, "ResponseContentDisposition": shown}
        return Presigned(method="GET", url=self._sign("get_object", named, GET_S), headers={})

    def _sign(self, operation: str, given: Mapping[str, Any], valid_s: int) -> str:
        with translated(given["Bucket"], given["Key"]):  # such as missing credentials
            return self._client.generate_presigned_url(operation, Params=dict(given), ExpiresIn=valid_s)
