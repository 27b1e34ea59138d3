"""The object store: all buckets in one, behind the two interfaces that the product has for it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from connectors.storage.listing import ObjectInfo
from connectors.storage.pinned import SourceObject
from schemas.errors import RetriableError, UserError
from tests.simulation.ports import Ports

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of an object."""

    body: bytes
    version: str
    modified: datetime

    @property
    def etag(self) -> str:
        return f'"{md5(self.body, usedforsecurity=False).hexdigest()}"'


@dataclass
class Bucket:
    """Objects with their versions, the newest last. Without versioning only the newest is kept."""

    versioned: bool = False
    objects: dict[str, list[Stored]] = field(default_factory=dict)


class ObjectStore:
    """All buckets. Implements `streams.staging.StagingStore`; `StepObjects` is what orchestration uses."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self.buckets = {name: Bucket() for name in ("inbox", "staging", "lake")}
        self.deleted: Callable[[str, str], None] = lambda _bucket, _key: None

    def put(self, bucket: str, key: str, body: bytes) -> Stored:
        """Write as people do, outside of any process."""
        place = self.buckets[bucket]
        now = datetime.fromtimestamp(self._ports.kernel.now_us // 1_000_000, UTC)
        versions = place.objects.get(key, []) if place.versioned else []
        stored = Stored(body, f"v{self._ports.kernel.now_us}", now)
        place.objects[key] = [*versions, stored]
        return stored

    def find(self, bucket: str, key: str, version: str | None = None) -> Stored | None:
        """The current object, or one version of it, without faults."""
        versions = self.buckets[bucket].objects.get(key, [])
        return next((s for s in reversed(versions) if version is None or s.version == version), None)

    def keys(self, bucket: str, prefix: str) -> list[str]:
        return sorted(key for key in self.buckets[bucket].objects if key.startswith(prefix))

    # --- streams.staging.StagingStore --------------------------------------------------------------------------------

    def put_new(self, bucket: str, key: str, body: bytes) -> bool:
        def act() -> bool:
            if self.find(bucket, key) is not None:
                return False
            self.put(bucket, key, body)
            return True

        return self._call("put", bucket, key, act)

    def put_new_file(self, bucket: str, key: str, path: Path) -> bool:
        return self.put_new(bucket, key, path.read_bytes())

    def get(self, bucket: str, key: str) -> bytes | None:
        return self._call("get", bucket, key, lambda: None if (s := self.find(bucket, key)) is None else s.body)

    def get_tail(self, bucket: str, key: str, size: int) -> bytes | None:
        body = self.get(bucket, key)
        return None if body is None else body[-size:]

    def list_keys(self, bucket: str, prefix: str) -> list[str]:
        return self._call("list", bucket, prefix, lambda: self.keys(bucket, prefix))

    def delete(self, bucket: str, keys: list[str]) -> None:
        for key in keys:
            self._call("delete", bucket, key, lambda key=key: self._forget(bucket, key))  # type: ignore[misc]

    def _forget(self, bucket: str, key: str) -> None:
        if self.buckets[bucket].objects.pop(key, None) is not None:
            self.deleted(bucket, key)

    def _call(self, verb: str, bucket: str, key: str, act: Callable[[], T]) -> T:
        return self._ports.call(
            "object store", f"{verb} {bucket}/{key}", act, lambda text: RetriableError("STORE_UNAVAILABLE", text)
        )


class StepObjects:
    """Stands in for `connectors.storage.objects.ObjectStore` in steps, control plane and garbage collection."""

    def __init__(self, store: ObjectStore, ports: Ports) -> None:
        self._store = store
        self._ports = ports
        self.lists: dict[str, bytes] = {}
        """Lists of the files of sets, by their hash, also those that were deleted."""

    def put(self, bucket: str, key: str, content: bytes) -> None:
        name = key.rpartition("/")[2]
        if name.startswith("units-"):
            self.lists[name.removeprefix("units-").removesuffix(".json")] = content
        self._call("put", bucket, key, lambda: self._store.put(bucket, key, content))

    def put_if_absent(self, bucket: str, key: str, content: bytes) -> bool:
        return self._store.put_new(bucket, key, content)

    def read_range(self, source: SourceObject, start: int, length: int) -> bytes:
        return self.get(source.bucket, source.key)[start : start + length]

    def pin_below(self, bucket: str, prefix: str) -> Iterator[SourceObject]:
        for entry in self.list(bucket, prefix):
            yield self.pin(bucket, entry.key)

    def pin(self, bucket: str, key: str, version_id: str | None = None) -> SourceObject:
        def act() -> SourceObject:
            found = self._store.find(bucket, key, version_id)
            if found is None:
                raise UserError("SOURCE_GONE", f"there is no s3://{bucket}/{key}")
            return SourceObject(
                bucket=bucket,
                key=key,
                version_id=found.version if self._store.buckets[bucket].versioned else None,
                etag=found.etag,
                size=len(found.body),
                last_modified=found.modified,
            )

        return self._call("pin", bucket, key, act)

    def get(self, bucket: str, key: str) -> bytes:
        body = self._store.get(bucket, key)
        if body is None:
            raise UserError("SOURCE_GONE", f"there is no s3://{bucket}/{key}")
        return body

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        def act() -> list[ObjectInfo]:
            found = ((key, self._store.find(bucket, key)) for key in self._store.keys(bucket, prefix))
            return [
                ObjectInfo(key=key, size=len(s.body), last_modified=s.modified) for key, s in found if s is not None
            ]

        return iter(self._call("list", bucket, prefix, act))

    def delete(self, bucket: str, key: str) -> None:
        self._store.delete(bucket, [key])

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        keys = self._store.list_keys(bucket, prefix)
        self.delete_all(bucket, keys)
        return len(keys)

    def delete_all(self, bucket: str, keys: Sequence[str]) -> None:
        self._store.delete(bucket, [*keys])

    def _call(self, verb: str, bucket: str, key: str, act: Callable[[], T]) -> T:
        return self._ports.call(
            "object store", f"{verb} {bucket}/{key}", act, lambda text: RetriableError("S3_UNAVAILABLE", text)
        )


class S3Client:
    """`get_object` as called by `connectors.storage.pinned.PinnedBody`. The server checks the conditions."""

    def __init__(self, store: ObjectStore, ports: Ports) -> None:
        self._store = store
        self._ports = ports

    def get_object(self, **request: Any) -> dict[str, Any]:
        bucket, key, etag = request["Bucket"], request["Key"], request.get("IfMatch")
        first, last = (int(number) for number in request["Range"].removeprefix("bytes=").split("-"))

        def act() -> dict[str, Any]:
            found = self._store.find(bucket, key, request.get("VersionId"))
            if found is None or (etag is not None and found.etag != etag):
                raise UserError("SOURCE_CHANGED", f"s3://{bucket}/{key} was changed during the import")
            if first >= len(found.body):
                raise ClientError({"Error": {"Code": "InvalidRange"}}, "GetObject")
            body = found.body[first : last + 1]
            return {
                "ETag": found.etag,
                "ContentRange": f"bytes {first}-{last}/{len(found.body)}",
                "Body": BytesIO(body),
            }

        return self._ports.call(
            "object store", f"read {key} from {first}", act, lambda text: RetriableError("S3_UNAVAILABLE", text)
        )
