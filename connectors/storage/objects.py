"""S3 objects: reads pinned sources in the version that was pinned, and does the few writes of Muster."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from functools import cached_property
from os.path import commonprefix
from pathlib import Path
from typing import TYPE_CHECKING, Final

from connectors.storage.access import DEFAULT_OPTIONS, ClientOptions, S3Access, new_client
from connectors.storage.errors import translated
from connectors.storage.listing import ObjectInfo, delete_objects, list_objects
from connectors.storage.pinned import PinnedBody, SourceObject
from connectors.storage.pinning import list_pinned, list_unversioned
from connectors.storage.reading import BLOCK_BYTES, PAUSE_MAX_S, PAUSE_S, ReadAhead, read_block
from connectors.storage.writing import put_file, put_if_absent
from schemas.errors import RetriableError, UserError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MIB: Final = 1024 * 1024
RESUME_S: Final = 60.0
"""How long a stream retries, counted from the last progress, before it raises the outage to its caller."""
MULTIPART_BYTES: Final = 16 * MIB
"""Part size and threshold: 10,000 parts (S3's limit) of this size are 156 GiB; boto3 uses larger parts beyond."""

OTHERS_LISTED: Final = 1000
"""Objects per wanted one that `pin_all` lists before it asks for each: a page of a listing costs as much as a HEAD."""
PIN_CONCURRENCY: Final = 16


class _Sent:
    """Counts what one try of an upload has sent; called from its threads."""

    def __init__(self, on_bytes: Callable[[int], None] | None) -> None:
        self._on_bytes = on_bytes
        self._lock = threading.Lock()
        self._total = 0

    def add(self, size: int) -> None:
        with self._lock:
            self._total += size
        if self._on_bytes is not None:
            self._on_bytes(size)

    def revert(self) -> None:
        self.add(-self._total)


class ObjectStore:
    """An S3 endpoint with its credentials. Thread-safe. Every method blocks.

    Every method raises `UserError` ACCESS_DENIED or NO_SUCH_BUCKET, `RetriableError` S3_UNAVAILABLE and `FatalError`
    S3_REFUSED.
    """

    def __init__(
        self, access: S3Access, *, options: ClientOptions = DEFAULT_OPTIONS, resume_s: float = RESUME_S
    ) -> None:
        self._access = access
        self._options = options
        self._resume_s = resume_s

    def prepare(self) -> None:
        """Create the client now; otherwise the first request takes half a second longer."""
        _ = self._client

    @cached_property
    def _client(self) -> "S3Client":
        return new_client(self._access, self._options)

    def pin(self, bucket: str, key: str, version_id: str | None = None) -> SourceObject:
        """Pin the current object, or the given version. Raises `UserError` SOURCE_GONE."""
        version = {"VersionId": version_id} if version_id else {}
        with translated(bucket, key):
            head = self._client.head_object(Bucket=bucket, Key=key, **version)  # type: ignore[arg-type]
        named = head.get("VersionId", "")
        return SourceObject(
            bucket=bucket,
            key=key,
            version_id=named if named not in ("", "null") else None,
            etag=head["ETag"],
            size=head["ContentLength"],
            last_modified=head["LastModified"].astimezone(UTC),
        )

    def pin_below(self, bucket: str, prefix: str) -> Iterator[SourceObject]:
        """The current objects whose keys begin with `prefix`, pinned and ordered by key, without a request for each."""
        with translated(bucket, prefix):
            yield from self._listed(bucket, prefix)

    def pin_all(self, bucket: str, keys: Sequence[str]) -> dict[str, SourceObject]:
        """Pin the current objects of these keys, by key. Raises `UserError` SOURCE_GONE naming one that is missing.

        Lists what the keys have in common, unless that is mostly other objects.
        """
        wanted, found, others = set(keys), {}, 0
        last = max(wanted, default="")
        if len(wanted) > 1:
            for source in self.pin_below(bucket, commonprefix([min(wanted), last])):  # noqa: RUF071  # of keys, not of paths
                if source.key in wanted:
                    found[source.key] = source
                else:
                    others += 1
                if source.key >= last or others > OTHERS_LISTED * (len(found) + 1):
                    break
        with ThreadPoolExecutor(PIN_CONCURRENCY, thread_name_prefix="pin") as pool:
            rest = sorted(wanted - found.keys())
            return found | dict(zip(rest, pool.map(lambda key: self.pin(bucket, key), rest), strict=True))

    def _listed(self, bucket: str, prefix: str) -> Iterator[SourceObject]:
        """Raises `UserError` ACCESS_DENIED if the bucket has versioning, and its versions may not be listed."""
        try:
            with translated(bucket, prefix):
                yield from list_pinned(self._client, bucket, prefix)
                return
        except UserError as exc:
            if exc.code != "ACCESS_DENIED":
                raise
            refused = exc
        for number, source in enumerate(list_unversioned(self._client, bucket, prefix)):
            if not number and self.pin(bucket, source.key).version_id is not None:
                raise UserError(
                    "ACCESS_DENIED",
                    f"bucket {bucket} has versioning, and the object store refuses to list versions: allow "
                    "s3:ListBucketVersions",
                    bucket=bucket,
                ) from refused
            yield source

    def stream(
        self, source: SourceObject, *, start: int = 0, end: int | None = None, block_bytes: int = BLOCK_BYTES
    ) -> Iterator[bytes]:
        """The pinned object in blocks of `block_bytes`, read ahead by threads (`reading`). Empty objects have none.

        Of a range, only the bytes `start` to `end`. Before the last block it checks that the object is still the pinned
        one. Raises as `read_range`.
        """
        end = source.size if end is None else end
        with ReadAhead(
            self._client, source, start=start, end=end, block_bytes=block_bytes, resume_s=self._resume_s
        ) as blocks:
            left = end - start
            for block in blocks:
                left -= len(block)
                if not left:
                    self._still_pinned(source)
                yield block

    def read_range(self, source: SourceObject, start: int, length: int) -> bytes:
        """`length` bytes of the pinned object from `start`; resumes a broken connection at the byte where it broke.

        Raises `UserError` SOURCE_CHANGED if the object is not the pinned one any more, SOURCE_GONE if it was deleted,
        `RetriableError` S3_UNAVAILABLE after `resume_s` without a byte.
        """
        body = PinnedBody(self._client, source, end=start + length)
        try:
            return read_block(body, start, length, resume_s=self._resume_s)
        finally:
            body.close()

    def _still_pinned(self, source: SourceObject) -> None:
        version = {"VersionId": source.version_id} if source.version_id else {}
        with translated(source.bucket, source.key):
            self._client.head_object(Bucket=source.bucket, Key=source.key, IfMatch=source.etag, **version)  # type: ignore[arg-type]

    def get(self, bucket: str, key: str) -> bytes:
        """A whole small object. Raises `UserError` SOURCE_GONE."""
        with translated(bucket, key):
            return self._client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def get_tail(self, bucket: str, key: str, size: int) -> bytes:
        """The last `size` bytes of an object, or all of a smaller one. Raises `UserError` SOURCE_GONE."""
        try:
            with translated(bucket, key):
                return self._client.get_object(Bucket=bucket, Key=key, Range=f"bytes=-{size}")["Body"].read()
        except UserError as exc:
            if exc.code == "SOURCE_CHANGED":  # unsatisfiable range: the object is empty
                return b""
            raise

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Write a small object, replacing an existing one."""
        with translated(bucket, key):
            self._client.put_object(Bucket=bucket, Key=key, Body=content)

    def put_if_absent(self, bucket: str, key: str, body: bytes | Path, *, replace_empty: bool = False) -> bool:
        """See `writing.put_if_absent`."""
        with translated(bucket, key):
            return put_if_absent(self._client, bucket, key, body, replace_empty=replace_empty)

    def put_file(self, path: Path, bucket: str, key: str, *, on_bytes: Callable[[int], None] | None = None) -> None:
        """Upload a local file, in parts if it is large. Raises `UserError` SOURCE_GONE if the file does not exist.

        An outage is retried for `resume_s`, from the beginning of the file. `on_bytes` gets the size of each piece
        sent, from the threads of the upload; a negative size takes back what a failed try has sent.
        """
        from boto3.s3.transfer import TransferConfig

        if not path.is_file():
            raise UserError("SOURCE_GONE", f"file {path} does not exist", path=str(path))
        config = TransferConfig(
            multipart_threshold=MULTIPART_BYTES, multipart_chunksize=MULTIPART_BYTES, max_concurrency=4
        )
        give_up = time.monotonic() + self._resume_s
        pause = PAUSE_S
        while True:
            sent = _Sent(on_bytes)
            try:
                with translated(bucket, key):
                    put_file(self._client, bucket, key, path, config=config, on_bytes=sent.add)
            except RetriableError:
                if time.monotonic() > give_up:
                    raise
                sent.revert()
                time.sleep(pause)
                pause = min(2 * pause, PAUSE_MAX_S)
            else:
                return

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key begins with `prefix`, ordered by key."""
        with translated(bucket, prefix):
            yield from list_objects(self._client, bucket, prefix)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object; a missing one is no error."""
        with translated(bucket, key):
            self._client.delete_object(Bucket=bucket, Key=key)

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        """Delete every object below `prefix`, which must end with '/'; returns how many there were. Idempotent."""
        if not prefix.rstrip("/") or not prefix.endswith("/"):
            raise ValueError(f"{prefix!r} would delete more than one directory")
        keys = [entry.key for entry in self.list(bucket, prefix)]
        self.delete_all(bucket, keys)
        return len(keys)

    def delete_all(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete objects; missing ones are no error."""
        if not keys:
            return
        with translated(bucket, keys[0]):
            try:
                delete_objects(self._client, bucket, keys)
            except OSError as exc:
                raise RetriableError("S3_UNAVAILABLE", str(exc), bucket=bucket) from exc
