"""Client and service work together if they are at most one version apart."""

from typing import Final

from muster import __version__
from muster.errors import ApiError

VERSION_HEADER: Final = "muster-version"
"""Of every answer of a service."""


def check_version(theirs: str, own: str = __version__) -> None:
    """Raises `ApiError` VERSION_MISMATCH.

    Versions are MAJOR.MINOR.PATCH; patches do not count, and major versions do not work together.
    """
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


def _numbers(version: str) -> tuple[int, int] | None:
    parts = version.split(".")
    if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        return None
    return int(parts[0]), int(parts[1])
