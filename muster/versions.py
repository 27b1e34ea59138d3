"""Client and service work together if they are at most one version apart."""

import re
import sys
from functools import cache
from pathlib import Path
from typing import Final

from muster.errors import ApiError

_METADATA: Final = re.compile(r"muster-(\d+(?:\.\d+)+)\.dist-info")
VERSION_HEADER: Final = "muster-version"
"""Of every answer of a service."""


def check_version(theirs: str, own: str | None = None) -> None:
    """Raises `ApiError` VERSION_MISMATCH. `own`: the version of this installation without it.

    Versions are MAJOR.MINOR.PATCH; patches do not count, and major versions do not work together.
    """
    own = own or own_version()
    mine, other = _numbers(own), _numbers(theirs)
    if mine is None or other is None or (mine[0] == other[0] and abs(mine[1] - other[1]) <= 1):
        return
    older = "this command" if mine < other else "the service"
    raise ApiError(
        "VERSION_MISMATCH",
        f"the service has version {theirs}, and this command {own}: they work together if they are at most one minor "
        f"version apart; update {older}",
        kind="user",
        values={"service": theirs, "client": own},
    )


@cache
def own_version() -> str:
    """The version of this installation; empty if it is not installed as a package.

    Every command needs it. The name of the folder of metadata has it, as the specification of wheels demands;
    `importlib.metadata` would take a seventh of the start of a command to load.
    """
    folders = (found.name for place in sys.path for found in Path(place).glob("muster-*.dist-info"))
    for name in folders:  # the first on the path counts
        if (version := _METADATA.fullmatch(name)) is not None:
            return version[1]
    from importlib import metadata  # noqa: PLC0415  # installed in another way, or not at all

    try:
        return metadata.version("muster")
    except metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, int] | None:
    parts = version.split(".")
    if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        return None
    return int(parts[0]), int(parts[1])
