"""Reasons why a destination of any kind does not take a file."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from schemas.errors import RetriableError, UserError

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Disk full, quota exceeded, file size limit exceeded."""


@contextmanager
def room_at_destination(folder: Path) -> Iterator[None]:
    """Raise `UserError` DESTINATION_FULL for a full disk; other errors pass unchanged."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in FULL:
            raise
        raise UserError(
            "DESTINATION_FULL",
            f"{folder}: no space is left for the export ({exc.strerror}); free some space, or choose another "
            "destination",
            path=str(folder),
        ) from exc


@contextmanager
def room_for_scratch(folder: Path) -> Iterator[None]:
    """Raise `RetriableError` SCRATCH_FULL if our own disk is full; other errors pass unchanged."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in FULL:
            raise
        raise RetriableError(
            "SCRATCH_FULL",
            f"{folder}: no space is left for temporary files of an export ({exc.strerror}); free some space there",
            path=str(folder),
        ) from exc


def destination_exists(uri: str) -> UserError:
    """The error for a file that would be replaced."""
    return UserError("DESTINATION_EXISTS", f"{uri} exists; choose another name or overwrite it", destination=uri)


def key_taken(uri: str) -> UserError:
    """The error for one of our names that is taken by another file."""
    return UserError(
        "DESTINATION_KEY_TAKEN",
        f"{uri} already exists and appears to be another file: nothing is overwritten; choose another destination",
        key=uri,
    )
