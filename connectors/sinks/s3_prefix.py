"""A destination in an object store: all keys under `s3://bucket/prefix/`."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from connectors.lake.parts import file_sha256
from connectors.sinks.addresses import s3_prefix
from connectors.sinks.locked_folder import locked_folder
from connectors.sinks.refusals import key_taken, room_for_scratch
from connectors.sinks.s3_faults import DENIED, Location, destination_faults
from connectors.storage.access import S3Access
from connectors.storage.listing import list_objects
from connectors.storage.writing import PLAIN, may_write, put_if_absent
from schemas.errors import UserError
from schemas.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES

BLOCK_BYTES: Final = 1024 * 1024


class S3Prefix:
    """Writes files under unused names; see `Destination`.

    `extra` are boto3 arguments for every object, such as its encryption. Every method raises `UserError`
    DESTINATION_NOT_WRITABLE and DESTINATION_CREDENTIALS_EXPIRED, `RetriableError` DESTINATION_UNAVAILABLE.
    """

    def __init__(
        self, access: S3Access, uri: str, *, extra: Mapping[str, str] = PLAIN, profile: str | None = None
    ) -> None:
        self._access = access
        self._extra = extra
        self._bucket, self._prefix = s3_prefix(uri)
        self._location = Location(bucket=self._bucket, prefix=self._prefix, profile=profile)

    def check(self) -> None:
        """Check bucket, region, credentials, permission to write, and the requested encryption."""
        self.manifest()  # first: some servers create the bucket on a write
        with self._faults():
            may_write(self._access.client(), self._bucket, self._prefix + MANIFEST_NAME, extra=self._extra)

    def manifest(self) -> bytes | None:
        """See `Destination.manifest`. Also None if the credentials may write but not read."""
        client = self._access.client()
        try:
            with self._faults():
                try:
                    answer = client.get_object(Bucket=self._bucket, Key=self._prefix + MANIFEST_NAME)
                except client.exceptions.NoSuchKey:
                    return None
                return answer["Body"].read(MAX_MANIFEST_BYTES)
        except UserError as exc:
            if exc.detail.get("refusal") == DENIED:
                return None
            raise

    def put(self, path: Path, key: str) -> None:
        """Upload a file, in parts if it is large."""
        with self._faults():
            new = self._put_if_absent(key, path)
        if not new and not self._has_same_bytes(path, key):
            raise key_taken(self.uri(key))
        path.unlink()

    def put_manifest(self, data: bytes) -> bool:
        """Write the manifest with a conditional put."""
        with self._faults():
            return self._put_if_absent(MANIFEST_NAME, data)

    def remove(self, key: str) -> None:
        """Remove an object; a missing one is no error."""
        with self._faults():
            self._access.client().delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def keys(self) -> Iterator[str]:
        """See `Destination.keys`."""
        with self._faults():
            for entry in list_objects(self._access.client(), self._bucket, self._prefix):
                yield entry.key.removeprefix(self._prefix)

    def uri(self, key: str) -> str:
        """`s3://bucket/prefix/key`."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    @contextmanager
    def scratch(self, temp: Path) -> Iterator[Path]:
        """A folder in the temporary folder of this process. Raises `RetriableError` SCRATCH_FULL."""
        with room_for_scratch(temp), locked_folder(temp, "export-") as folder:
            yield folder

    def _put_if_absent(self, key: str, body: bytes | Path) -> bool:
        return put_if_absent(self._access.client(), self._bucket, self._prefix + key, body, extra=self._extra)

    def _has_same_bytes(self, path: Path, key: str) -> bool:
        """True if the object verifiably has the same bytes as the file. An ETag would not do: encryption changes it."""
        found = hashlib.sha256()
        try:
            with self._faults():
                answer = self._access.client().get_object(Bucket=self._bucket, Key=self._prefix + key)
                if answer["ContentLength"] != path.stat().st_size:
                    answer["Body"].close()
                    return False
                for block in answer["Body"].iter_chunks(BLOCK_BYTES):
                    found.update(block)
        except UserError as exc:
            if exc.detail.get("refusal") == DENIED:
                return False
            raise
        return found.hexdigest() == file_sha256(path)

    def _faults(self) -> AbstractContextManager[None]:
        return destination_faults(self._location)
