"""Objects of the staging and lake buckets, over boto3: the one place where S3's errors become ours.

Every call blocks and is made from a worker thread. Outages are retried with back-off for a bounded time and then raised
as `RetriableError` STORE_UNAVAILABLE; a refusal (wrong credentials, no such bucket) is a `FatalError` STORE_REFUSED.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from connectors.storage.access import ClientOptions, S3Access, new_client
from schemas.errors import FatalError, RetriableError
from streams.config import StoreConfig

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")
OPTIONS: Final = ClientOptions(
    connect_timeout_s=3.0,
    read_timeout_s=30.0,
    attempts=1,  # the store retries, for a bounded time
    connections=16,
    signed_bodies=False,  # rows carry digests that are checked whenever they are read: signing them costs a core
)
_MISSING: Final = {"NoSuchKey", "404", "NotFound"}
_EXISTS: Final = {"PreconditionFailed", "412"}
_EMPTY: Final = {"InvalidRange", "416"}  # what the end of nothing is
_REFUSED: Final = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "403"}
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 3.0
_DELETE_AT_ONCE: Final = 1000  # the most keys that DeleteObjects takes


class ObjectStore(Protocol):
    """Objects by bucket and key. Every call blocks, may be made from any thread, and sees all that returned before.

    An object without a byte is none: SeaweedFS keeps one where a client dies between the head and the body of its PUT.
    Raises `RetriableError` STORE_UNAVAILABLE after a bounded time of retries, `FatalError` STORE_REFUSED.
    """

    def put_new(self, bucket: str, key: str, body: bytes) -> bool:
        """Store an object unless the key exists. False when it exists (or when an earlier try of ours has made it)."""

    def put_new_file(self, bucket: str, key: str, path: Path) -> bool:
        """`put_new` from a file, which is streamed."""

    def get(self, bucket: str, key: str) -> bytes | None:
        """The object, or none when there is none."""

    def get_tail(self, bucket: str, key: str, size: int) -> bytes | None:
        """The last `size` bytes of an object (all of it when it is smaller), or none when there is none."""

    def list_keys(self, bucket: str, prefix: str) -> list[str]:
        """Every key with the prefix, sorted."""

    def delete(self, bucket: str, keys: list[str]) -> None:
        """Delete objects; those that do not exist are no error."""


class S3Store:
    """`ObjectStore` over an S3 API, with retries."""

    def __init__(
        self,
        config: StoreConfig,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._monotonic = monotonic
        self._jitter = jitter
        self._stopping = threading.Event()
        self._client: S3Client = new_client(
            S3Access(
                endpoint=config.endpoint,
                region=config.region,
                access_key=config.access_key,
                secret_key=config.secret_key,
            ),
            OPTIONS,
        )

    def stop(self) -> None:
        """Make calls that wait for a retry give up now."""
        self._stopping.set()

    def put_new(self, bucket: str, key: str, body: bytes) -> bool:
        """Store an object unless the key exists. False when it exists (or when an earlier try of ours has made it)."""
        return self._put(bucket, key, lambda: body)

    def put_new_file(self, bucket: str, key: str, path: Path) -> bool:
        """`put_new` from a file, which is streamed."""
        with path.open("rb") as file:

            def rewound() -> IO[bytes]:
                file.seek(0)
                return file

            return self._put(bucket, key, rewound)

    def get(self, bucket: str, key: str) -> bytes | None:
        """The object, or none when there is none."""
        return self._get(bucket, key, {})

    def get_tail(self, bucket: str, key: str, size: int) -> bytes | None:
        """The last `size` bytes of an object (all of it when it is smaller), or none when there is none."""
        return self._get(bucket, key, {"Range": f"bytes=-{size}"})

    def list_keys(self, bucket: str, prefix: str) -> list[str]:
        """Every key with the prefix, sorted."""
        return sorted(self._call("list", bucket, prefix, lambda: list(self._pages(bucket, prefix))))

    def delete(self, bucket: str, keys: list[str]) -> None:
        """Delete objects; those that do not exist are no error."""
        for start in range(0, len(keys), _DELETE_AT_ONCE):
            some = keys[start : start + _DELETE_AT_ONCE]
            self._call("delete", bucket, some[0], lambda some=some: self._delete(bucket, some))  # type: ignore[misc]

    def _delete(self, bucket: str, keys: list[str]) -> None:
        self._client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys], "Quiet": True})

    def _put(self, bucket: str, key: str, body: Callable[[], Any]) -> bool:
        def put() -> bool:
            if self._put_if(bucket, key, body, {"IfNoneMatch": "*"}):
                return True
            found = self._client.head_object(Bucket=bucket, Key=key)
            return not found["ContentLength"] and self._put_if(bucket, key, body, {"IfMatch": found["ETag"]})

        return self._call("put", bucket, key, put)

    def _put_if(self, bucket: str, key: str, body: Callable[[], Any], condition: dict[str, Any]) -> bool:
        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=body(), **condition)
        except ClientError as exc:
            if _code(exc) in _EXISTS:
                return False
            raise
        return True

    def _get(self, bucket: str, key: str, extra: dict[str, Any]) -> bytes | None:
        def get() -> bytes | None:
            try:
                return self._client.get_object(Bucket=bucket, Key=key, **extra)["Body"].read() or None
            except ClientError as exc:
                if _code(exc) in _MISSING or _code(exc) in _EMPTY:
                    return None
                raise

        return self._call("get", bucket, key, get)

    def _pages(self, bucket: str, prefix: str) -> Iterator[str]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from (entry["Key"] for entry in page.get("Contents", ()))

    def _call(self, verb: str, bucket: str, key: str, call: Callable[[], T]) -> T:
        started = self._monotonic()
        wait = _FIRST_WAIT_S
        while True:
            try:
                return call()
            except (ClientError, BotoCoreError, OSError) as exc:
                code = _code(exc) if isinstance(exc, ClientError) else type(exc).__name__
                if code in _REFUSED:
                    raise FatalError(
                        "STORE_REFUSED", f"{verb} of s3://{bucket}/{key} was refused: {code}", bucket=bucket, key=key
                    ) from exc
                if self._stopping.is_set() or self._monotonic() - started > self._config.give_up_after_s:
                    raise RetriableError(
                        "STORE_UNAVAILABLE",
                        f"{verb} of s3://{bucket}/{key} failed for {self._config.give_up_after_s:g} s: {code}",
                        bucket=bucket,
                        key=key,
                    ) from exc
            self._stopping.wait(wait * (0.5 + self._jitter() / 2))
            wait = min(2 * wait, _LONGEST_WAIT_S)


def _code(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", ""))
