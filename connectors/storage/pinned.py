"""Reads one version of one object, exactly as it was pinned."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from connectors.storage.errors import changed
from schemas.errors import RetriableError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

READ_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceObject:
    """One version of one object: by version id if the bucket has versions, by etag in any case. Size in bytes."""

    bucket: str
    key: str
    version_id: str | None
    etag: str
    size: int
    last_modified: datetime

    @property
    def uri(self) -> str:
        """The object as s3://bucket/key."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def version(self) -> str:
        """What distinguishes this version from others under the same key; ETag and time where there are no versions."""
        return self.version_id or f"{self.etag}@{self.last_modified.isoformat()}"


SourceFiles = tuple[SourceObject, ...]
"""The objects of one import that reads several, in the order in which their rows apply."""
Source = SourceObject | SourceFiles
"""What an import reads."""


class PinnedBody:
    """The body of a pinned object, read in order; (re)opened at the next byte, with its etag and version."""

    def __init__(self, client: "S3Client", source: SourceObject, *, end: int | None = None) -> None:
        self._client = client
        self.source = source
        self.end = source.size if end is None else end
        self._body: Any = None
        self._at = 0

    def read_into(self, content: bytearray, start: int, length: int) -> None:
        """Append what is missing of `length` bytes from `start`. Bytes read before an error stay appended."""
        at = start + len(content)
        if self._body is None or self._at != at:
            self._open(at)
        try:
            while len(content) < length:
                piece = self._body.read(min(READ_BYTES, length - len(content)))
                if not piece:
                    raise RetriableError("S3_UNAVAILABLE", f"reading {self.source.uri} broke off at byte {self._at}")
                content += piece
                self._at += len(piece)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the current request, if any."""
        if self._body is not None:
            self._body.close()
            self._body = None

    def _open(self, at: int) -> None:
        self.close()
        source = self.source
        request: dict[str, Any] = {"IfMatch": source.etag, "Range": f"bytes={at}-{self.end - 1}"}
        if source.version_id is not None:
            request["VersionId"] = source.version_id
        answer = self._client.get_object(Bucket=source.bucket, Key=source.key, **request)
        # A server that ignores If-Match or Range must not go unnoticed.
        if answer["ETag"] != source.etag or not answer.get("ContentRange", "").startswith(f"bytes {at}-"):
            answer["Body"].close()
            raise changed(source.bucket, source.key)
        self._body, self._at = answer["Body"], at
