"""Files on this machine that are to be imported."""

from pathlib import Path

from schemas.errors import UserError


def check_readable(path: Path) -> None:
    """Raises `UserError` SOURCE_GONE, SOURCE_UNREADABLE or EMPTY_FILE before anything is uploaded."""
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise UserError("EMPTY_FILE", f"{path} is empty", path=str(path))
    except FileNotFoundError as exc:
        raise UserError("SOURCE_GONE", f"file {path} does not exist", path=str(path)) from exc
    except OSError as exc:
        raise UserError("SOURCE_UNREADABLE", f"{path} cannot be read: {exc.strerror}", path=str(path)) from exc
