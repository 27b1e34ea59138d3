"""Recognise text that is not comma-separated UTF-8: its encoding and separator, by evidence.

The parser refuses such a file, or takes each line for one id. Only `inspect` looks closer, in the child that parses.
"""

import csv
import io
import itertools
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from connectors.sources.compression import ByteSource, Compression
from connectors.sources.suggestion import is_id_name
from schemas.import_formats import IMPORT_FORMATS, ImportFormat

HEAD_BYTES: Final = 64 * 1024
FOREIGN_BYTES: Final = 64 * 1024
ROWS: Final = 500
CONSISTENT: Final = 0.9
"""Share of the rows that must have as many fields as the header, for a separator to be believed."""
ALIGNED: Final = "  "
"""Runs of spaces: columns that are aligned for the eye."""
SPACES: Final = (" ", ALIGNED)
SEPARATORS: Final = (";", "\t", "|", *SPACES)
UTF16: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
JAPANESE: Final = {"EUC-JP": (range(0xA4, 0xA6), 0.1), "CP932": (range(0x81, 0x99), 0.5)}
"""First bytes that speak for an encoding, and the share of characters which must have one of them.

Of EUC-JP, kana alone: its kanji could as well be Chinese or Korean in their own encodings. Of Shift_JIS (CP932), kana
and the kanji in daily use (JIS level 1), which no other common encoding begins like this.
"""
WESTERN: Final = frozenset("ŠšŽžŒœŸ€ªº“”„‘’‚«»–—…¿¡°£§")
EXAMPLE_CHARACTERS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class TextForm:
    """`encoding` is a name for iconv, or empty: not UTF-8, and not recognised. `example`: a text in that encoding.

    `separator` is a comma where nothing better was found; `ALIGNED` means runs of spaces. `columns`: in the header.
    """

    format: ImportFormat
    compression: Compression
    encoding: str
    separator: str = ","
    columns: int = 0
    example: str = ""


class TextSample:
    """Passes bytes on, and keeps the first ones and the first lines that are not ASCII."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._head = bytearray()
        self._foreign: list[bytes] = []
        self._room = FOREIGN_BYTES
        self._cut = False

    def readinto(self, buffer: memoryview) -> int:
        """See `ByteSource`."""
        n = self._source.readinto(buffer)
        missing = HEAD_BYTES - len(self._head)
        self._head += buffer[: min(n, missing)]
        self._cut = self._cut or n > missing
        if self._room > 0 and n:
            self._keep_foreign(buffer[:n])
        return n

    def _keep_foreign(self, block: memoryview) -> None:
        foreign = np.frombuffer(block, np.uint8) >= 0x80
        first = int(foreign.argmax())
        if not foreign[first]:
            return
        start = bytes(block[:first]).rfind(b"\n") + 1
        lines = bytes(block[start : start + self._room]).split(b"\n")
        for line in lines[:-1] or lines:  # the last one may be cut, even within a character
            if not line.isascii():
                self._foreign.append(line)
                self._room -= len(line)

    def form(self, format_: ImportFormat, compression: Compression) -> TextForm:
        """What the bytes are, as far as they have been read. Separators are looked for in untyped text only."""
        head = bytes(self._head)
        encoding, example = _encoding(head, self._foreign)
        form = TextForm(format=format_, compression=compression, encoding=encoding, example=example)
        if not IMPORT_FORMATS[format_].untyped:
            return form
        text = head.decode(encoding or "latin-1", errors="replace").removeprefix("\ufeff")
        if self._cut:
            text = text[: text.rfind("\n") + 1]
        separator, columns = _separator(text)
        return replace(form, separator=separator, columns=columns)


def _encoding(head: bytes, foreign: list[bytes]) -> tuple[str, str]:
    """(name, example). Mixed encodings count as UTF-8, whose strict reader names the lines that are not."""
    if (wide := UTF16.get(head[:2]) or _utf16_without_mark(head)) is not None:
        return wide, ""
    if not foreign or any(_decoded(line, "utf-8") is not None for line in foreign):
        return "UTF-8", ""
    for name in JAPANESE:
        if _is_japanese(foreign, name):
            return name, _example(foreign, name)
    return ("CP1252", _example(foreign, "CP1252")) if _is_latin(foreign) else ("", "")


def _utf16_without_mark(head: bytes) -> str | None:
    """UTF-16 of text with digits, separators or Latin letters has a zero in every other byte, on one side alone."""
    bytes_ = np.frombuffer(head[: len(head) // 2 * 2], np.uint8)
    if len(bytes_) < 4:
        return None
    zeros = [float((bytes_[side::2] == 0).mean()) for side in (0, 1)]
    for name, (mostly, hardly) in {"UTF-16BE": zeros, "UTF-16LE": zeros[::-1]}.items():
        if mostly > 0.2 and hardly < 0.02:
            return name
    return None


def _is_japanese(lines: list[bytes], name: str) -> bool:
    """All lines decode, no character is of private use, and enough of them speak for the encoding."""
    leads, share = JAPANESE[name]
    total = common = 0
    for line in lines:
        text = _decoded(line, name)
        if text is None:
            return False
        for character in filter(lambda c: not c.isascii(), text):
            raw = character.encode(name, errors="replace")
            if "\ue000" <= character <= "\uf8ff":
                return False
            total += len(raw) > 1  # half-width katakana are single bytes, as accented letters are elsewhere
            common += len(raw) == 2 and raw[0] in leads
    return total > 0 and common >= share * total


def _is_latin(lines: list[bytes]) -> bool:
    """Most bytes that are not ASCII are letters or signs of Western Europe, and stand alone."""
    text = [_decoded(line, "cp1252") for line in lines]
    if None in text:
        return False
    alone = letters = total = 0
    for line in filter(None, text):
        for before, c, after in zip(" " + line, line, line[1:] + " ", strict=False):
            if not c.isascii():
                total += 1
                letters += "\u00c0" <= c <= "\u00ff" or c in WESTERN
                alone += before.isascii() and after.isascii()
    return letters >= 0.9 * total and alone >= 0.8 * total


def _decoded(line: bytes, encoding: str) -> str | None:
    try:
        return line.decode(encoding)
    except UnicodeDecodeError:
        return None


def _example(lines: list[bytes], encoding: str) -> str:
    """A field with a character that is not ASCII, to check the encoding by eye."""
    text = lines[-1].decode(encoding).rstrip("\r")
    for separator in (",", *SEPARATORS):
        text = next((part for part in text.split(separator) if not part.isascii()), text)
    return text.strip('" ')[:EXAMPLE_CHARACTERS]


def _separator(text: str) -> tuple[str, int]:
    """(separator, columns in the header). The comma is believed unless most rows contradict it."""
    columns, share = _fit(text, ",")
    if columns > 1 and share >= 0.5:
        return ",", columns
    header = text.split("\n", 1)[0].strip("\r")
    found = [(candidate, *_fit(text, candidate)) for candidate in SEPARATORS]
    likely = [
        (share, width, candidate)
        for candidate, width, share in found
        if width > 1 and share >= CONSISTENT and not (candidate in SPACES and is_id_name(header))
    ]
    if not likely:
        return ",", columns
    _, width, separator = max(likely, key=lambda one: one[:2])
    return separator, width


def _fit(text: str, separator: str) -> tuple[int, float]:
    """(columns in the header, share of the first rows with as many fields); no share for spaces without rows."""
    lines = io.StringIO(text, newline="")
    try:
        fields = map(str.split, lines) if separator == ALIGNED else csv.reader(lines, delimiter=separator)
        rows = list(itertools.islice(fields, ROWS))
    except csv.Error:
        return 0, 0.0
    if not rows or len(rows[0]) < 2 or len(set(rows[0])) < len(rows[0]) or not all(map(str.strip, rows[0])):
        return 1, 0.0
    header, body = rows[0], [row for row in rows[1:] if row]
    if not body:
        return len(header), 0.0 if separator in SPACES else 1.0
    return len(header), sum(len(row) == len(header) for row in body) / len(body)
