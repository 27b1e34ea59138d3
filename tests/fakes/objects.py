"""In-memory `connectors.storage.objects`: the calls that steps, control plane and sweeper make."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path

from connectors.storage.errors import changed
from connectors.storage.listing import ObjectInfo
from connectors.storage.pinned import SourceObject
from schemas.errors import UserError


class InMemoryObjects:
    """Objects by bucket and key; each put creates a version. Times are given by the test."""

    def __init__(self) -> None:
        self.contents: dict[tuple[str, str], bytes] = {}
        self.times: dict[tuple[str, str], datetime] = {}
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self.contents[bucket, key] = content
        self.times[bucket, key] = self.now

    def put_if_absent(self, bucket: str, key: str, content: bytes) -> bool:
        if (bucket, key) in self.contents:
            return False
        self.put(bucket, key, content)
        return True

    def get(self, bucket: str, key: str) -> bytes:
        if (bucket, key) not in self.contents:
            raise UserError("SOURCE_GONE", f"there is no s3://{bucket}/{key}")
        return self.contents[bucket, key]

    def pin(self, bucket: str, key: str, version_id: str | None = None) -> SourceObject:
        content = self.get(bucket, key)
        version = md5(content, usedforsecurity=False).hexdigest()
        if version_id not in {None, version}:
            raise UserError("SOURCE_GONE", f"there is no version {version_id} of s3://{bucket}/{key}")
        return SourceObject(
            bucket=bucket,
            key=key,
            version_id=version,
            etag=f'"{version}"',
            size=len(content),
            last_modified=self.times[bucket, key],
        )

    def pin_below(self, bucket: str, prefix: str) -> Iterator[SourceObject]:
        for key in self.keys(bucket, prefix):
            yield self.pin(bucket, key)

    def pin_all(self, bucket: str, keys: Sequence[str]) -> dict[str, SourceObject]:
        return {key: self.pin(bucket, key) for key in keys}

    def put_file(self, path: Path, bucket: str, key: str) -> None:
        self.put(bucket, key, path.read_bytes())

    def stream(self, source: SourceObject, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Raises SOURCE_CHANGED for an object that was replaced."""
        if self.pin(source.bucket, source.key).etag != source.etag:
            raise changed(source.bucket, source.key)
        if found := self.get(source.bucket, source.key)[start:end]:
            yield found

    def read_range(self, source: SourceObject, start: int, length: int) -> bytes:
        return self.get(source.bucket, source.key)[start : start + length]

    def delete(self, bucket: str, key: str) -> None:
        self.contents.pop((bucket, key), None)

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        keys = self.keys(bucket, prefix)
        self.delete_all(bucket, keys)
        return len(keys)

    def delete_all(self, bucket: str, keys: Sequence[str]) -> None:
        for key in keys:
            self.delete(bucket, key)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        return [entry.key for entry in self.list(bucket, prefix)]

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        for where, key in sorted(self.contents):
            if where == bucket and key.startswith(prefix):
                yield ObjectInfo(key=key, size=len(self.contents[where, key]), last_modified=self.times[where, key])
