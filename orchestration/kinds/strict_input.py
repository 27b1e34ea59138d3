"""Strict parsing of execution input: whoever may start an execution can send anything."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.errors import UserError
from schemas.ids import JobId, job_id

TEXT_MAX: Final = 1024


def as_mapping(value: object, where: str) -> Mapping[str, Any]:
    """A JSON object. All functions here raise `UserError` BAD_EVENT."""
    if not isinstance(value, Mapping):
        raise bad_event(f"{where} is {type(value).__name__}, not an object")
    return value


def as_text(value: object, where: str, *, most: int = TEXT_MAX, empty: bool = False) -> str:
    """A text of at most `most` bytes of UTF-8."""
    if not isinstance(value, str) or (not value and not empty):
        raise bad_event(f"{where} is {'empty' if value == '' else type(value).__name__}, not a string")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as exc:
        raise bad_event(f"{where} is not valid Unicode") from exc
    if size > most:
        raise bad_event(f"{where} has {size} bytes, more than {most}")
    if "\0" in value:
        raise bad_event(f"{where} contains a NUL character")
    return value


def as_number(value: object, where: str) -> int | None:
    """A positive whole number, or None."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise bad_event(f"{where} is not a positive whole number")
    return value


def as_id(value: object, where: str) -> JobId:
    """A job id."""
    try:
        return job_id(as_text(value, where))
    except UserError as exc:
        raise bad_event(f"{where} is not a job id") from exc


def bad_event(why: str) -> UserError:
    """The error for input of the wrong form."""
    return UserError("BAD_EVENT", f"cannot start a job with this event: {why}", why=why)
