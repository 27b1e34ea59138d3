"""Why a destination does not take a file, whatever kind of destination it is."""

import errno
from pathlib import Path
from typing import Final

from schemas.errors import RetriableError, UserError

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The disk, the quota, the limit of a file's size."""


def destination_full(exc: OSError, folder: Path) -> UserError | None:
    """The error when the disk of a destination is full; none when `exc` is something else."""
    if exc.errno not in FULL:
        return None
    return UserError(
        "DESTINATION_FULL",
        f"{folder}: there is no room for the export ({exc.strerror}); make room, or name another place",
        path=str(folder),
    )


def scratch_full(exc: OSError, folder: Path) -> RetriableError | None:
    """The error when our own disk is full; none when `exc` is something else."""
    if exc.errno not in FULL:
        return None
    return RetriableError(
        "SCRATCH_FULL",
        f"{folder}: there is no room for files of an export before they are sent ({exc.strerror}); make room there",
        path=str(folder),
    )


def key_taken(uri: str) -> UserError:
    """The error for a name of ours that something else has."""
    return UserError(
        "DESTINATION_KEY_TAKEN",
        f"{uri} is there and is, as far as can be seen, another file: nothing is overwritten; name another place",
        key=uri,
    )
