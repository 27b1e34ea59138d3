"""In-memory object store that can delay writes and shows which ones wait."""

import threading
from collections.abc import Callable
from pathlib import Path


class InMemoryObjectStore:
    """`StagingStore` for tests. A put waits while `hold(key)` is true."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.hold: Callable[[str], bool] = lambda _key: False
        self.held: list[str] = []
        """Keys with a put in progress."""
        self._changed = threading.Condition()

    def release(self) -> None:
        """Let every waiting and later put continue."""
        with self._changed:
            self.hold = lambda _key: False
            self._changed.notify_all()

    def keys(self, part: str) -> list[str]:
        """Keys of any bucket that contain `part`."""
        with self._changed:
            return sorted(key for _, key in self.objects if part in key)

    def put_new(self, bucket: str, key: str, body: bytes) -> bool:
        with self._changed:
            self.held.append(key)
            self._changed.wait_for(lambda: not self.hold(key))
            self.held.remove(key)
            if self.objects.get((bucket, key)):
                return False
            self.objects[bucket, key] = body
            return True

    def put_new_file(self, bucket: str, key: str, path: Path) -> bool:
        return self.put_new(bucket, key, path.read_bytes())

    def get(self, bucket: str, key: str) -> bytes | None:
        with self._changed:
            return self.objects.get((bucket, key)) or None

    def get_tail(self, bucket: str, key: str, size: int) -> bytes | None:
        body = self.get(bucket, key)
        return None if body is None else body[-size:]

    def list_keys(self, bucket: str, prefix: str) -> list[str]:
        with self._changed:
            return sorted(key for where, key in self.objects if where == bucket and key.startswith(prefix))

    def delete(self, bucket: str, keys: list[str]) -> None:
        with self._changed:
            for key in keys:
                self.objects.pop((bucket, key), None)
