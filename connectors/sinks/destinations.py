"""Where an export goes: a local folder, or a prefix of an object store. The manifest comes last and is never replaced.

A reader that starts at the manifest sees a whole export or none.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from connectors.lake.access import PRECONDITION_FAILED, S3Access, put_file
from connectors.lake.faults import lake_faults
from connectors.listing import list_objects
from schemas.errors import UserError
from schemas.layout import split_s3_uri
from schemas.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES

READABLE: Final = 0o644


class Destination(Protocol):
    """Takes the files of one export. Raises `UserError` DESTINATION_NOT_WRITABLE, and what its store raises."""

    def manifest(self) -> bytes | None:
        """The manifest of the export that is there already, as far as a manifest may be long."""

    def put(self, path: Path, key: str) -> None:
        """A file, which is moved or copied; the same key again replaces it, with the same bytes."""

    def put_manifest(self, data: bytes) -> bool:
        """The manifest, unless there is one: then False."""

    def remove(self, key: str) -> None:
        """Take a file back that no manifest names."""

    def keys(self) -> Iterator[str]:
        """Of all files that are there."""

    def uri(self, key: str) -> str:
        """Where a file is, for people."""

    @contextmanager
    def scratch(self, temp: Path) -> Iterator[Path]:
        """A folder for files before `put`, removed with what is left in it."""


class LocalFolder:
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def manifest(self) -> bytes | None:
        """See `Destination.manifest`."""
        with self._faults():
            try:
                with (self._folder / MANIFEST_NAME).open("rb") as file:
                    return file.read(MAX_MANIFEST_BYTES)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def put(self, path: Path, key: str) -> None:
        """Flushed to disk, then renamed."""
        with self._faults():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
            path.chmod(READABLE)
            path.replace(self._folder / key)

    def put_manifest(self, data: bytes) -> bool:
        """Linked into its place: unlike a rename, that fails where something has appeared meanwhile."""
        with self._faults():
            self._folder.mkdir(parents=True, exist_ok=True)  # an export of nobody has no files
            handle, name = tempfile.mkstemp(prefix=f".{MANIFEST_NAME}.", dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).chmod(READABLE)
                os.link(name, self._folder / MANIFEST_NAME)
            except FileExistsError:
                return False
            finally:
                Path(name).unlink()
        return True

    def remove(self, key: str) -> None:
        """One that is not there is no error."""
        (self._folder / key).unlink(missing_ok=True)

    def keys(self) -> Iterator[str]:
        """See `Destination.keys`."""
        yield from (str(path.relative_to(self._folder)) for path in self._folder.rglob("*") if path.is_file())

    def uri(self, key: str) -> str:
        """Its path."""
        return str(self._folder / key)

    @contextmanager
    def scratch(self, temp: Path) -> Iterator[Path]:
        """On the same file system, hidden: a rename from there is one step."""
        del temp
        with self._faults():
            self._folder.mkdir(parents=True, exist_ok=True)
            scratch = tempfile.TemporaryDirectory(prefix=".muster-export-", dir=self._folder)
        with scratch as folder:
            yield Path(folder)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except FileExistsError as exc:
            raise UserError("DESTINATION_NOT_WRITABLE", f"{self._folder} is a file", path=str(self._folder)) from exc
        except OSError as exc:
            raise UserError(
                "DESTINATION_NOT_WRITABLE", f"{self._folder}: {exc.strerror}", path=str(self._folder)
            ) from exc


class S3Prefix:
    """Everything below `s3://bucket/prefix/`."""

    def __init__(self, access: S3Access, uri: str) -> None:
        self._access = access
        self._bucket, prefix = split_s3_uri(uri)
        self._prefix = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"

    def manifest(self) -> bytes | None:
        """See `Destination.manifest`."""
        client = self._access.client()
        with self._faults():
            try:
                answer = client.get_object(Bucket=self._bucket, Key=self._prefix + MANIFEST_NAME)
            except client.exceptions.NoSuchKey:
                return None
            return answer["Body"].read(MAX_MANIFEST_BYTES)

    def put(self, path: Path, key: str) -> None:
        """Uploaded, in pieces where it is large."""
        with self._faults():
            put_file(self._access, path, self.uri(key))
        path.unlink()

    def put_manifest(self, data: bytes) -> bool:
        """A conditional write."""
        from botocore.exceptions import ClientError  # noqa: PLC0415  # boto3 takes a third of a second

        try:
            with self._faults():
                self._access.client().put_object(
                    Bucket=self._bucket, Key=self._prefix + MANIFEST_NAME, Body=data, IfNoneMatch="*"
                )
        except UserError as exc:
            cause = exc.__cause__
            if isinstance(cause, ClientError) and _status(cause) == PRECONDITION_FAILED:
                return False
            raise
        return True

    def remove(self, key: str) -> None:
        """One that is not there is no error."""
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
        """In the temporary folder of this process."""
        temp.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="export-", dir=temp) as folder:
            yield Path(folder)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What the store refuses is the destination's fault; an outage is `RetriableError` LAKE_UNAVAILABLE."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        with lake_faults(f"writing to s3://{self._bucket}/{self._prefix}"):
            try:
                yield
            except ClientError as exc:
                if _status(exc) >= 500:
                    raise
                code = exc.response.get("Error", {}).get("Code", "")
                raise UserError(
                    "DESTINATION_NOT_WRITABLE",
                    f"s3://{self._bucket}/{self._prefix}: the store refuses ({code})",
                    bucket=self._bucket,
                    refusal=code,
                ) from exc


def _status(exc: object) -> int:
    response = getattr(exc, "response", {})
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def destination(to: str, access: S3Access) -> Destination:
    """The destination that a person names: a path, or `s3://bucket/prefix`. Raises `UserError` BAD_URI."""
    return S3Prefix(access, to) if "://" in to else LocalFolder(Path(to))
