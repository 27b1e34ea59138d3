"""Limits of ids and names, without Arrow: the service checks them, too."""

from schemas.activity_columns import NAME_MAX_CHARACTERS
from segmentation.intake.refusals import RefusalCode, Refused


def check_text(text: str, code: RefusalCode, what: str, max_characters: int = NAME_MAX_CHARACTERS) -> None:
    """An id or a name: 1 to `max_characters`, not only white space. Raises `Refused`."""
    if not 1 <= len(text) <= max_characters:
        raise Refused(code, f"{what} has {len(text)} characters; 1 to {max_characters} are allowed")
    if text.isspace():
        raise Refused(code, f"{what} is only white space")
    check_characters(text, code, what)


def check_characters(text: str, code: RefusalCode, what: str) -> None:
    """Raise `Refused` for characters that a file could not hold either."""
    if "\0" in text:
        raise Refused(code, f"{what} has a NUL character")
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise Refused(code, f"{what} has half of a surrogate pair")
