"""Objects of stream workers, in the staging and lake buckets: written once; an empty object counts as absent.

Every call blocks and is made from a worker thread. Outages are retried with back-off for a bounded time and then raised
as `RetriableError` STORE_UNAVAILABLE; a refusal (wrong credentials, no such bucket) is a `FatalError` STORE_REFUSED.
"""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar

from connectors.storage.access import ClientOptions, S3Access
from connectors.storage.errors import EXPIRED_KEYS
from connectors.storage.objects import ObjectStore
from schemas.errors import FatalError, MusterError, RetriableError, UserError

T = TypeVar("T")
OPTIONS: Final = ClientOptions(
    connect_timeout_s=3.0,
    read_timeout_s=30.0,
    attempts=1,  # the store retries, for a bounded time
    connections=16,
    signed_bodies=False,  # rows carry digests that every read checks; signing them too would cost a core
)
GIVE_UP_AFTER_S: Final = 30.0
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 3.0


class StagingStore(Protocol):
    """Objects by bucket and key. Every call blocks, works from any thread, and sees all effects of earlier calls.

    An empty object counts as absent: SeaweedFS stores one if a client dies between the head and the body of its PUT.
    Raises `RetriableError` STORE_UNAVAILABLE after a bounded time of retries, `FatalError` STORE_REFUSED.
    """

    def put_new(self, bucket: str, key: str, body: bytes) -> bool:
        """Store an object unless the key exists. False if it exists (or if an earlier try of this call created it)."""

    def put_new_file(self, bucket: str, key: str, path: Path) -> bool:
        """`put_new` from a file, which is streamed."""

    def get(self, bucket: str, key: str) -> bytes | None:
        """The object, or None if absent."""

    def get_tail(self, bucket: str, key: str, size: int) -> bytes | None:
        """The last `size` bytes of an object (all of it if it is smaller), or None if absent."""

    def list_keys(self, bucket: str, prefix: str) -> list[str]:
        """Every key with the prefix, sorted."""

    def delete(self, bucket: str, keys: list[str]) -> None:
        """Delete objects; missing ones are ignored."""


class S3StagingStore:
    """`StagingStore` over an `ObjectStore`.

    `give_up_after_s` bounds the retries of one call; the worker then ends and is restarted. 0: one try.
    """

    def __init__(
        self,
        objects: ObjectStore,
        *,
        give_up_after_s: float = GIVE_UP_AFTER_S,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._objects = objects
        self._give_up_after_s = give_up_after_s
        self._monotonic = monotonic
        self._jitter = jitter
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Make calls that wait for a retry give up now."""
        self._stopping.set()

    def put_new(self, bucket: str, key: str, body: bytes) -> bool:
        """Store an object unless the key exists. False if it exists (or if an earlier try of this call created it)."""
        return self._put(bucket, key, body)

    def put_new_file(self, bucket: str, key: str, path: Path) -> bool:
        """`put_new` from a file, which is streamed."""
        return self._put(bucket, key, path)

    def get(self, bucket: str, key: str) -> bytes | None:
        """The object, or None if absent."""
        return self._get(bucket, key, lambda: self._objects.get(bucket, key))

    def get_tail(self, bucket: str, key: str, size: int) -> bytes | None:
        """The last `size` bytes of an object (all of it if it is smaller), or None if absent."""
        return self._get(bucket, key, lambda: self._objects.get_tail(bucket, key, size))

    def list_keys(self, bucket: str, prefix: str) -> list[str]:
        """Every key with the prefix, sorted."""
        return self._call("list", bucket, prefix, lambda: sorted(o.key for o in self._objects.list(bucket, prefix)))

    def delete(self, bucket: str, keys: list[str]) -> None:
        """Delete objects; missing ones are ignored."""
        if keys:
            self._call("delete", bucket, keys[0], lambda: self._objects.delete_all(bucket, keys))

    def _put(self, bucket: str, key: str, body: bytes | Path) -> bool:
        return self._call(
            "put", bucket, key, lambda: self._objects.put_if_absent(bucket, key, body, replace_empty=True)
        )

    def _get(self, bucket: str, key: str, read: Callable[[], bytes]) -> bytes | None:
        def get() -> bytes | None:
            try:
                return read() or None
            except UserError as exc:
                if exc.code == "SOURCE_GONE":
                    return None
                raise

        return self._call("get", bucket, key, get)

    def _call(self, verb: str, bucket: str, key: str, call: Callable[[], T]) -> T:
        started = self._monotonic()
        wait = _FIRST_WAIT_S
        while True:
            try:
                return call()
            except MusterError as exc:
                what = f"{verb} of s3://{bucket}/{key}"
                if _is_refusal(exc):
                    raise FatalError(
                        "STORE_REFUSED", f"{what} was refused: {exc.detail['s3_code']}", bucket=bucket, key=key
                    ) from exc
                if self._stopping.is_set() or self._monotonic() - started >= self._give_up_after_s:
                    raise RetriableError(
                        "STORE_UNAVAILABLE",
                        f"{what} failed for {self._give_up_after_s:g} s: {exc.message}",
                        bucket=bucket,
                        key=key,
                    ) from exc
            self._stopping.wait(wait * (0.5 + self._jitter() / 2))
            wait = min(2 * wait, _LONGEST_WAIT_S)


def staging_store(access: S3Access) -> S3StagingStore:
    """The store of a worker; the client is created here, not by the first record."""
    objects = ObjectStore(access, options=OPTIONS)
    objects.prepare()
    return S3StagingStore(objects)


def _is_refusal(exc: MusterError) -> bool:
    """True for a permanent refusal. Missing or expired keys are none: a role gets new ones."""
    refused = exc.code in {"ACCESS_DENIED", "NO_SUCH_BUCKET"}
    return refused and exc.detail.get("s3_code", EXPIRED_KEYS) != EXPIRED_KEYS
