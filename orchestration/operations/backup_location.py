"""Location of a backup: a local directory, or a prefix of a bucket. Names are `/`-separated paths below it."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from connectors.private_files import make_private_folder, write_private
from schemas.errors import UserError
from schemas.layout import split_s3_uri

if TYPE_CHECKING:
    from connectors.storage.objects import ObjectStore


class BackupLocation(Protocol):
    """`put` and `get` block while they copy, and raise `UserError` NOT_WRITABLE, NO_BACKUP or the store's errors."""

    def put(self, name: str, file: Path) -> None:
        """Copy a local file to the backup, completely or not at all."""

    def get(self, name: str, file: Path) -> None:
        """Copy from the backup into a local file."""

    def has(self, name: str) -> bool:
        """True if the backup has a file of that name."""


class DirectoryLocation:
    """A local directory, created if it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, name: str, file: Path) -> None:
        """See `BackupLocation`."""
        target = self._path / name
        try:
            make_private_folder(target.parent)
            partial = target.with_name(target.name + ".partial")
            write_private(partial, b"")
            shutil.copyfile(file, partial)
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            partial.replace(target)
        except OSError as exc:
            raise UserError("NOT_WRITABLE", f"{target} cannot be written: {exc.strerror}", path=str(target)) from exc

    def get(self, name: str, file: Path) -> None:
        """See `BackupLocation`."""
        try:
            shutil.copyfile(self._path / name, file)
        except OSError as exc:
            raise UserError("NO_BACKUP", f"{self._path / name} cannot be read: {exc.strerror}", name=name) from exc

    def has(self, name: str) -> bool:
        """See `BackupLocation`."""
        return (self._path / name).exists()


class BucketLocation:
    """A prefix of a bucket that the object store of the deployment can reach."""

    def __init__(self, objects: "ObjectStore", uri: str) -> None:
        self._objects = objects
        self._bucket, key = split_s3_uri(uri.rstrip("/") + "/x")
        self._prefix = key.removesuffix("x")

    def put(self, name: str, file: Path) -> None:
        """See `BackupLocation`."""
        self._objects.put_file(file, self._bucket, self._prefix + name)

    def get(self, name: str, file: Path) -> None:
        """See `BackupLocation`."""
        if not self.has(name):
            raise UserError("NO_BACKUP", f"s3://{self._bucket}/{self._prefix}{name} does not exist", name=name)
        source = self._objects.pin(self._bucket, self._prefix + name)
        with file.open("wb") as written:
            for piece in self._objects.stream(source):
                written.write(piece)

    def has(self, name: str) -> bool:
        """See `BackupLocation`."""
        return any(found.key == self._prefix + name for found in self._objects.list(self._bucket, self._prefix + name))


def backup_location(objects: "ObjectStore", text: str) -> BackupLocation:
    """The location a user named: `s3://bucket/prefix` or a directory."""
    return BucketLocation(objects, text) if text.startswith("s3://") else DirectoryLocation(Path(text).absolute())
