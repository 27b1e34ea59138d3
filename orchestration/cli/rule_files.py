"""Rules as the user gives them: on the command line, or in a file."""

from pathlib import Path
from typing import Final

from schemas.errors import UserError

MAX_BYTES: Final = 1024 * 1024
PATH_MAX: Final = 1_024
"""A longer rule is not taken for a file path."""


def rule_text(given: str) -> str:
    """A rule given as text or JSON, or the content of a file (`@path`, or the path of an existing file).

    Raises `UserError` RULE_UNREADABLE.
    """
    path = Path(given.removeprefix("@"))
    try:
        if not given.startswith("@") and (len(given) > PATH_MAX or "\0" in given or not path.is_file()):
            return given
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise UserError("RULE_UNREADABLE", f"{path} cannot be read: {reason}", path=str(path)) from exc
