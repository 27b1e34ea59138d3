"""How the text of a CSV file is written, if not as comma-separated UTF-8: its delimiter and its encoding."""

from collections.abc import Mapping
from typing import Final, Literal

from schemas.errors import UserError

Delimiter = Literal[",", ";", "\t", "|"]
TextEncoding = Literal["utf-8", "cp932", "euc-jp", "utf-16", "utf-16le", "utf-16be", "latin-1", "cp1252"]

DELIMITER_NAMES: Final[Mapping[str, Delimiter]] = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
ENCODING_LABELS: Final[Mapping[TextEncoding, str]] = {
    "utf-8": "UTF-8",
    "cp932": "Shift_JIS (CP932)",
    "euc-jp": "EUC-JP",
    "utf-16": "UTF-16 (BOM)",
    "utf-16le": "UTF-16LE",
    "utf-16be": "UTF-16BE",
    "latin-1": "Latin-1 (ISO 8859-1)",
    "cp1252": "Windows-1252",
}
ENCODING_ALIASES: Final[Mapping[str, TextEncoding]] = {
    **dict.fromkeys(("utf8",), "utf-8"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis", "ms932", "windows-31j"), "cp932"),
    **dict.fromkeys(("eucjp", "euc_jp", "ujis"), "euc-jp"),
    **dict.fromkeys(("latin1", "iso-8859-1", "iso8859-1"), "latin-1"),
    **dict.fromkeys(("windows-1252",), "cp1252"),
    "utf16": "utf-16",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
}


def delimiter_of(text: str) -> Delimiter:
    """The delimiter that a person means: the character, or its name. Raises `UserError` BAD_SPEC."""
    found = DELIMITER_NAMES.get(text.lower(), "\t" if text == r"\t" else text)
    if found not in DELIMITER_NAMES.values():
        raise UserError("BAD_SPEC", f"delimiter {text[:20]!r} is not one of {', '.join(DELIMITER_NAMES)}")
    return found  # type: ignore[return-value]  # just compared


def encoding_of(text: str) -> TextEncoding:
    """The encoding that a person means, by one of its names. Raises `UserError` BAD_SPEC."""
    name = text.lower()
    found = ENCODING_ALIASES.get(name, name)
    if found not in ENCODING_LABELS:
        raise UserError("BAD_SPEC", f"encoding {text[:40]!r} is not one of {', '.join(ENCODING_LABELS)}")
    return found  # type: ignore[return-value]  # just compared


def delimiter_name(delimiter: str) -> str:
    """The name of a delimiter, as the command line takes it."""
    return next(name for name, one in DELIMITER_NAMES.items() if one == delimiter)
