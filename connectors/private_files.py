"""Files of users' data on this machine: only their owner can read them, unless the owner opens them up later."""

import os
from pathlib import Path
from typing import Final

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents, each with mode 0700. Existing ones keep their mode."""
    for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        missing.mkdir(mode=FOLDER_MODE, exist_ok=True)
    folder.mkdir(mode=FOLDER_MODE, exist_ok=True)  # raises FileExistsError if a file has that name


def write_private(path: Path, content: bytes) -> None:
    """Write a file with mode 0600, replacing its content. Raises OSError, also for a symbolic link."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, FILE_MODE)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, FILE_MODE)
        file.truncate()
        file.write(content)


def replace_private(path: Path, text: str) -> None:
    """Replace a file by one with mode 0600, atomically: readers find the old text or the new. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
