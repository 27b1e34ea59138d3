"""One file on this machine, which gets its name once it is complete."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.private_files import make_private_folder
from connectors.sinks.refusals import destination_exists, room_at_destination
from schemas.errors import UserError


@contextmanager
def complete_file(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A hidden file beside `target` to write to, for its owner alone; it becomes `target` unless the block raises.

    Raises `UserError` DESTINATION_EXISTS, DESTINATION_NOT_WRITABLE, DESTINATION_FULL.
    """
    try:
        make_private_folder(target.parent)
        # On the file system of the target, so that the last step is a rename or a link.
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    except OSError as exc:
        raise _not_writable(target, exc) from exc
    os.close(handle)
    path = Path(name)
    try:
        with room_at_destination(target.parent):
            yield path
        _reveal(path, target, overwrite=overwrite)
    finally:
        path.unlink(missing_ok=True)


def _reveal(path: Path, target: Path, *, overwrite: bool) -> None:
    try:
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
        if overwrite:
            path.replace(target)
        else:
            os.link(path, target)  # unlike a rename, it fails if the name has been taken meanwhile
    except FileExistsError as exc:
        raise destination_exists(str(target)) from exc
    except OSError as exc:
        raise _not_writable(target, exc) from exc


def _not_writable(target: Path, exc: OSError) -> UserError:
    return UserError("DESTINATION_NOT_WRITABLE", f"{target}: {exc.strerror}", path=str(target))
