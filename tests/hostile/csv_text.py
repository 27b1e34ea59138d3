"""Faults of bytes and characters: encodings, NULs, byte order marks, and lookalikes."""

from typing import Final

from tests.hostile.damage import (
    Damage,
    Fault,
    changed,
    exact,
    file_of,
    in_field,
    inserted,
    kept_as_is,
    refused,
    replaced,
    with_field,
)
from tests.hostile.twin import HEADER, Twin, joined, written

BOM: Final = b"\xef\xbb\xbf"
NOT_UTF8: Final = {
    "Latin-1": "café".encode("latin-1"),
    "Windows-1252 quotes": b"\x93note\x94",
    "two bytes, the second missing": b"a\xc3",
    "three bytes, the third missing": "日".encode()[:2],
    "four bytes, the fourth missing": "😀".encode()[:3],
    "four bytes, the third broken": b"\xf0\x9f(\x80",
    "continuation alone": b"a\x80b",
    "overlong slash": b"\xc0\xaf",
    "overlong of three bytes": b"\xe0\x80\xaf",
    "overlong of four bytes": b"\xf0\x80\x80\xaf",
    "overlong NUL": b"\xc0\x80",
    "surrogate": b"\xed\xa0\x80",
    "pair of surrogates (CESU-8)": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "FE FF": b"\xfe\xff",
    "FF FE": b"\xff\xfe",
    "Shift JIS": "日本".encode("shift_jis"),
}
LOOKS_ALIKE: Final = {
    "no-break space": "a\u00a0b",
    "zero-width space": "a\u200bb",
    "zero-width joiner": "a\u200d",
    "soft hyphen": "a\u00adb",
    "mark of direction": "\u202ea",
    "byte order mark inside": "a\ufeffb",
    "accent of its own": "e\u0301",
    "one code point": "\u00e9",
    "full width": "\uff41",
    "Cyrillic": "\u0430",
    "upper case": "A",
    "spaces around": " a ",
    "last code point": "\U0010ffff",
    "no character": "\ufffe\uffff",
    "replacement character": "\ufffd",
    "control characters": "\x01\x02\x1b[2J\x7f\x80",
    "tab": "\ta\t",
}
"""Texts that are kept unchanged: ids are compared byte for byte."""


def _utf16_from_here(twin: Twin, row: int) -> Damage:
    """The rest of the file in UTF-16: two concatenated files from different tools."""
    records = twin.records()
    head = joined([written(HEADER, always=twin.always_quoted), *records[:row]], twin.line_end)
    tail = joined(records[row:], twin.line_end).decode().encode("utf-16-le")
    return Damage(
        content=head + tail,
        touched=frozenset(range(row, len(records))),
        codes=frozenset({"nul_byte", "text_after_quote", "bare_quote", "lone_cr"}),
        refusals=frozenset({"UNCLOSED_QUOTE"}),
    )


def _hole(twin: Twin, row: int) -> Damage:
    """NULs in place of a record and its line end: a block that was never written."""
    records = twin.records()
    if row + 1 == len(records):
        return replaced(twin, row, b"\0" * len(records[row]), "nul_byte")
    records[row : row + 2] = [b"\0" * (len(records[row]) + len(twin.line_end)) + records[row + 1]]
    return Damage(
        content=file_of(twin, records),
        touched=frozenset({row, row + 1}),
        codes=frozenset(
            {"nul_byte", "bare_quote", "field_count"}
        ),  # in a record of two lines, the quote on the second line is not an opening one
    )


def _normal_forms(twin: Twin, row: int) -> Damage:
    """Two rows whose ids spell the same é in different normal forms: both are kept."""
    first, second = ("caf\u00e9", *twin.rows[row][1:]), ("cafe\u0301", *twin.rows[row - 1][1:])
    records = twin.records()
    records[row], records[row - 1] = written(first), written(second)
    return Damage(content=file_of(twin, records), changed={row: first, (row - 1) % len(records): second})


def _mark_before(twin: Twin, row: int) -> Damage:
    return replaced(twin, row, BOM + twin.records()[row], "bare_quote" if twin.always_quoted else "byte_order_mark")


def _mark_at_start(twin: Twin, _: int) -> Damage:
    return Damage(content=BOM + twin.content())


def _whole(name: str, encoding: str, code: str, mark: bytes = b"") -> Fault:
    return Fault(
        name=name,
        anywhere=False,
        damage=lambda twin, _: refused(mark + twin.content().decode().encode(encoding), code),
    )


def _like(name: str, text: str, field: str) -> Fault:
    return kept_as_is(f"{name} in {field}", field, text.encode(), text)


def _id_fault(name: str, id_: str, code: str) -> Fault:
    return in_field(name, "user_id", id_.encode(), code)


def _quoted_mark(twin: Twin, row: int) -> Damage:
    """Inside quotes the byte order mark is intentional."""
    record = with_field(twin.rows[row], "user_id", b'"\xef\xbb\xbfme"')
    return exact(twin, row, record, changed(twin.rows[row], "user_id", "\ufeffme"))


FAULTS: Final = (
    *(in_field(f"not UTF-8 in an id: {name}", "user_id", raw, "invalid_utf8") for name, raw in NOT_UTF8.items()),
    *(in_field(f"not UTF-8 in a text: {name}", "note", raw, "invalid_utf8") for name, raw in NOT_UTF8.items()),
    *(
        in_field(f"not UTF-8 in quotes: {name}", "note", b'"' + raw + b',"', "invalid_utf8")
        for name, raw in NOT_UTF8.items()
    ),
    *(
        in_field(f"not UTF-8 in a column that is not kept: {name}", "extra", raw, "invalid_utf8")
        for name, raw in NOT_UTF8.items()
    ),
    *(_like(name, text, "user_id") for name, text in LOOKS_ALIKE.items()),
    *(_like(name, text, "note") for name, text in LOOKS_ALIKE.items()),
    in_field("NUL in a text", "note", b"a\0b", "nul_byte"),
    in_field("NUL in quotes", "note", b'"a\0b"', "nul_byte"),
    in_field("NUL in an id", "user_id", b"user\0", "nul_byte"),
    in_field("NUL in a column that is not kept", "extra", b"\0", "nul_byte"),
    in_field("NUL in a number", "n", b"1\0", "nul_byte"),
    Fault(name="hole of NULs", damage=_hole),
    Fault(name="UTF-16 from here on", damage=_utf16_from_here),
    Fault(name="two spellings of an id", damage=_normal_forms),
    Fault(name="byte order mark before a row", damage=_mark_before),
    Fault(name="byte order mark in quotes", damage=_quoted_mark),
    Fault(name="byte order mark at the start", damage=_mark_at_start, anywhere=False),
    Fault(
        name="line of a byte order mark",
        damage=lambda twin, row: inserted(twin, row, BOM, "field_count"),
    ),
    _whole("UTF-16 with a mark", "utf-16-le", "NOT_UTF8_HEADER", b"\xff\xfe"),
    _whole("UTF-16, big end first, with a mark", "utf-16-be", "NOT_UTF8_HEADER", b"\xfe\xff"),
    _whole("UTF-32 with a mark", "utf-32-le", "NOT_UTF8_HEADER", b"\xff\xfe\0\0"),
    _whole("UTF-16 without a mark", "utf-16-le", "BAD_HEADER"),
    _whole("UTF-32 without a mark", "utf-32-be", "BAD_HEADER"),
    Fault(
        name="two byte order marks",
        anywhere=False,
        damage=lambda twin, _: refused(BOM + BOM + twin.content(), "MISSING_COLUMN", "BAD_HEADER"),
    ),
    _id_fault("no id", "", "id_empty"),
    _id_fault("id of spaces", "  ", "id_blank"),
    _id_fault("id of no-break spaces", "\u00a0\u2007", "id_blank"),
    _id_fault("id of ideographic spaces", "\u3000", "id_blank"),
    _id_fault("id too long", "é" * 192, "id_too_long"),
    kept_as_is("longest id", "user_id", ("é" * 191).encode(), "é" * 191),
)
