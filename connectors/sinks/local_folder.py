"""A destination on this machine: a folder, created if missing, with unfinished files in a hidden folder inside it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import Final

from connectors.lake.parts import file_sha256
from connectors.private_files import FILE_MODE, make_private_folder, write_private
from connectors.sinks.locked_folder import locked_folder
from connectors.sinks.refusals import key_taken, room_at_destination
from schemas.errors import UserError
from schemas.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES

HIDDEN: Final = ".muster-export-"


class LocalFolder:
    """See `Destination`. Every method raises `UserError` DESTINATION_NOT_WRITABLE and DESTINATION_FULL."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self) -> None:
        """Create the folder, and a hidden one inside it."""
        with self._hidden():
            pass

    def manifest(self) -> bytes | None:
        """See `Destination.manifest`."""
        with self._faults():
            try:
                with (self._folder / MANIFEST_NAME).open("rb") as file:
                    return file.read(MAX_MANIFEST_BYTES)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def put(self, path: Path, key: str) -> None:
        """Flush the file to disk, then move it."""
        target = self._folder / key
        with self._faults():
            path.chmod(FILE_MODE)
            make_private_folder(target.parent)
            if not _link(path, target) and not _same(path, target):
                raise key_taken(str(target))
            for folder in self._folders_of(key):
                _sync(folder)
            path.unlink()

    def put_manifest(self, data: bytes) -> bool:
        """Write it to the hidden folder, flush it, and link it into place once all files are safely in theirs."""
        with self._hidden() as hidden, self._faults():
            path = hidden / MANIFEST_NAME
            write_private(path, data)
            _sync(self._folder)
            new = _link(path, self._folder / MANIFEST_NAME)
            _sync(self._folder)
        return new

    def remove(self, key: str) -> None:
        """Remove a file; a missing one is no error. Folders of its key are removed with their last file."""
        with self._faults():
            (self._folder / key).unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or gone
            for folder in self._folders_of(key):
                folder.rmdir()

    def keys(self) -> Iterator[str]:
        """See `Destination.keys`."""
        for path in self._folder.rglob("*"):
            if path.is_file() and not path.parent.name.startswith(HIDDEN):
                yield str(path.relative_to(self._folder))

    def _folders_of(self, key: str) -> list[Path]:
        """The folders between a file and the destination folder, innermost first."""
        return list((self._folder / key).parents)[: key.count("/")]

    def uri(self, key: str) -> str:
        """Path of the file."""
        return str(self._folder / key)

    @contextmanager
    def scratch(self, temp: Path) -> Iterator[Path]:
        """A hidden folder on the same file system, from where linking is one step."""
        del temp
        with room_at_destination(self._folder), self._hidden() as folder:
            yield folder

    @contextmanager
    def _hidden(self) -> Iterator[Path]:
        """A hidden folder in the destination folder, created for the block."""
        with self._faults():
            hidden = ExitStack()
            folder = hidden.enter_context(locked_folder(self._folder, HIDDEN))
        with hidden:
            yield folder

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            with room_at_destination(self._folder):
                yield
        except FileExistsError as exc:
            raise self._not_writable(f"{exc.filename or self._folder} is a file") from exc
        except OSError as exc:
            raise self._not_writable(exc.strerror or type(exc).__name__) from exc

    def _not_writable(self, why: str) -> UserError:
        return UserError(
            "DESTINATION_NOT_WRITABLE",
            f"{self._folder}: {why}; choose a writable folder",
            path=str(self._folder),
        )


def _link(path: Path, target: Path) -> bool:
    """Flush a file and link it as `target`; False if that name is taken, even by a dangling link."""
    _sync(path)
    try:
        os.link(path, target)
    except FileExistsError:
        return False
    return True


def _same(path: Path, target: Path) -> bool:
    """True if `target` is a regular file with the same bytes; a link does not count."""
    there = target.lstat()
    return S_ISREG(there.st_mode) and there.st_size == path.stat().st_size and file_sha256(target) == file_sha256(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
