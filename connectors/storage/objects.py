"""S3 objects: reads pinned sources in the version that was pinned, and does the few writes of Muster."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from connectors.storage.access import DEFAULT_OPTIONS, ClientOptions, S3Access, new_client
from connectors.storage.errors import translated
from connectors.storage.listing import ObjectInfo, delete_objects, list_objects
from connectors.storage.pinned import PinnedBody, SourceObject
from connectors.storage.writing import put_file, put_if_absent
from schemas.errors import RetriableError, UserError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MIB: Final = 1024 * 1024
RANGE_BYTES: Final = 8 * MIB
RESUME_S: Final = 60.0
"""How long a stream retries, counted from the last progress, before it raises the outage to its caller."""
RESUME_PAUSE_S: Final = 0.2
RESUME_PAUSE_MAX_S: Final = 5.0
MULTIPART_BYTES: Final = 16 * MIB
"""Part size and threshold: 10,000 parts (S3's limit) of this size are 156 GiB; boto3 uses larger parts beyond."""


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

    def stream(self, source: SourceObject, *, range_bytes: int = RANGE_BYTES) -> Iterator[bytes]:
        """The pinned object in blocks of `range_bytes`; a thread reads one block ahead. Empty objects have none.

        Uses one request as long as it lasts (a request per block costs a server twice the time); after the last byte,
        checks that the object is still the pinned one. Raises as `read_range`.
        """
        stop = threading.Event()
        starts = range(0, source.size, range_bytes)
        body = PinnedBody(self._client, source)
        with ThreadPoolExecutor(1, thread_name_prefix="s3-read-ahead") as reader:

            def read(start: int) -> bytes:
                block = self._read(body, start, min(range_bytes, source.size - start), stop)
                if start == starts[-1]:
                    self._still_pinned(source)
                return block

            try:
                ahead = [reader.submit(read, start) for start in starts[:1]]
                for following in (*starts[1:], None):
                    if not ahead:
                        return
                    block = ahead.pop().result()
                    if following is not None:
                        ahead.append(reader.submit(read, following))
                    yield block
            finally:
                stop.set()
                reader.submit(body.close)  # after a read that may still be running

    def read_range(self, source: SourceObject, start: int, length: int) -> bytes:
        """`length` bytes of the pinned object from `start`; resumes a broken connection at the byte where it broke.

        Raises `UserError` SOURCE_CHANGED if the object is not the pinned one any more, SOURCE_GONE if it was deleted,
        `RetriableError` S3_UNAVAILABLE after `resume_s` without a byte.
        """
        body = PinnedBody(self._client, source, end=start + length)
        try:
            return self._read(body, start, length, None)
        finally:
            body.close()

    def _read(self, body: PinnedBody, start: int, length: int, stop: threading.Event | None) -> bytes:
        source = body.source
        content = bytearray()
        last_byte = time.monotonic()
        pause = RESUME_PAUSE_S
        while len(content) < length:
            before = len(content)
            try:
                with translated(source.bucket, source.key):
                    body.read_into(content, start, length)
            except RetriableError:
                now = time.monotonic()
                if len(content) > before:
                    last_byte, pause = now, RESUME_PAUSE_S
                if now - last_byte > self._resume_s or (stop is not None and stop.is_set()):
                    raise
                time.sleep(pause)
                pause = min(2 * pause, RESUME_PAUSE_MAX_S)
        return bytes(content)

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
        pause = RESUME_PAUSE_S
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
                pause = min(2 * pause, RESUME_PAUSE_MAX_S)
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
