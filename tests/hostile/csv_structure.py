"""Faults of quotes, line ends and columns."""

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
    replaced,
    with_field,
)
from tests.hostile.twin import HEADER, Twin, written


def _next_quote(twin: Twin, row: int) -> int:
    """First row after this one whose record has a quote, or the number of rows."""
    records = twin.records()
    return next((n for n in range(row + 1, len(records)) if b'"' in records[n]), len(records))


def _unclosed_quote(twin: Twin, row: int) -> Damage:
    records = twin.records()
    records[row] = with_field(twin.rows[row], "note", b'"open')
    last = _next_quote(twin, row)
    content = file_of(twin, records)
    if last == len(records):
        return Damage(content=content, refusals=frozenset({"UNCLOSED_QUOTE"}))
    return Damage(
        content=content,
        touched=frozenset(range(row, last + 1)),
        # An opening quote ends the field; a line end inside that second quoted field then ends the record.
        codes=frozenset({"text_after_quote", "bare_quote", "field_count"}),
    )


def _lost_opening_quote(twin: Twin, row: int) -> Damage:
    return replaced(twin, row, with_field(twin.rows[row], "note", b'a note, lost"'), "bare_quote")


def _cr_instead_of_lf(twin: Twin, row: int) -> Damage:
    """One line end is a bare CR: this record and the next become one record with a lone CR."""
    records = twin.records()
    if row + 1 == len(records):
        content = file_of(twin, records).removesuffix(twin.line_end) + b"\r"
        return Damage(content=content, touched=frozenset({row}), codes=frozenset({"lone_cr"}))
    records[row : row + 2] = [records[row] + b"\r" + records[row + 1]]
    return Damage(content=file_of(twin, records), touched=frozenset({row, row + 1}), codes=frozenset({"lone_cr"}))


def _doubled_cr(twin: Twin, row: int) -> Damage:
    records = twin.records()
    records[row] += b"\r" if twin.line_end == b"\r\n" else b"\r\r"
    return Damage(content=file_of(twin, records), touched=frozenset({row}), codes=frozenset({"lone_cr"}))


def _lf_cr(twin: Twin, row: int) -> Damage:
    """LF CR as a line end: the CR is the first byte of the next record, or a record of its own at the end."""
    records = twin.records()
    if row + 1 == len(records):
        content = file_of(twin, records) + b"\r"
        return Damage(content=content, codes=frozenset({"lone_cr"}))
    records[row + 1] = b"\r" + records[row + 1]
    return Damage(content=file_of(twin, records), touched=frozenset({row + 1}), codes=frozenset({"lone_cr"}))


def _other_line_end(twin: Twin, row: int) -> Damage:
    records = [record + twin.line_end for record in [written(HEADER, always=twin.always_quoted), *twin.records()]]
    records[row + 1] = records[row + 1].removesuffix(twin.line_end) + (b"\r\n" if twin.line_end == b"\n" else b"\n")
    return Damage(content=b"".join(records))


def _no_last_line_end(twin: Twin, _: int) -> Damage:
    return Damage(content=twin.content().removesuffix(twin.line_end))


def _blank_lines_behind(twin: Twin, _: int) -> Damage:
    return Damage(content=twin.content() + twin.line_end * 3, codes=frozenset({"blank_line"}))


def _other_delimiter_from_here(delimiter: str) -> Fault:
    def damage(twin: Twin, row: int) -> Damage:
        records = twin.records()
        for later in range(row, len(records)):
            records[later] = delimiter.join(text.replace("\n", " ") for text in twin.rows[later]).encode()
        return Damage(
            content=file_of(twin, records),
            touched=frozenset(range(row, len(records))),
            codes=frozenset({"field_count", "bare_quote"}),
        )

    return Fault(name=f"delimiter {delimiter!r} from here on", damage=damage)


def _whole_row(name: str, record: bytes, code: str) -> Fault:
    return Fault(name=name, damage=lambda twin, row: inserted(twin, row, record, code))


def _tail(name: str, tail: bytes, code: str) -> Fault:
    """Bytes after the last line end."""
    return Fault(
        name=name,
        anywhere=False,
        damage=lambda twin, _: Damage(content=twin.content() + tail, codes=frozenset({code})),
    )


def _too_few(twin: Twin, row: int) -> Damage:
    return replaced(twin, row, written(twin.rows[row][:-1], always=twin.always_quoted), "field_count")


def _too_many(tail: bytes) -> Fault:
    return Fault(
        name=f"too many columns {tail.decode()}",
        damage=lambda twin, row: replaced(twin, row, twin.records()[row] + tail, "field_count"),
    )


def _leading_delimiter(twin: Twin, row: int) -> Damage:
    return replaced(twin, row, b"," + twin.records()[row], "field_count")


def _doubled_newline_content(twin: Twin, row: int) -> Damage:
    text = "a\r\nb\n\nc\rd"
    record = with_field(twin.rows[row], "note", f'"{text}"'.encode())
    return exact(twin, row, record, changed(twin.rows[row], "note", text))


FAULTS: Final = (
    Fault(name="unclosed quote", damage=_unclosed_quote),
    Fault(name="lost opening quote", damage=_lost_opening_quote),
    in_field("quote inside an unquoted field", "note", b'5" disk', "bare_quote"),
    in_field("quote at the end of an unquoted field", "note", b'5"', "bare_quote"),
    in_field("quote inside an unquoted id", "user_id", b'us"er', "bare_quote"),
    in_field("quote inside a column that is not kept", "extra", b'x"y', "bare_quote"),
    in_field("text after a closing quote", "note", b'"note"x', "text_after_quote"),
    in_field("space after a closing quote", "note", b'"note" ', "text_after_quote"),
    in_field("space before an opening quote", "note", b' "note"', "bare_quote"),
    in_field("quotes inside a quoted field not doubled", "note", b'"a "very" note"', "text_after_quote"),
    in_field("quote escaped by a backslash", "note", rb'"a \"very\" note"', "text_after_quote"),
    in_field("comma escaped by a backslash", "note", rb"a\,b", "field_count"),
    in_field("comma in single quotes", "note", b"'a,b'", "field_count"),
    in_field("bare CR in a field", "note", b"a\rb", "lone_cr"),
    in_field("bare CR before the comma", "note", b"a\r", "lone_cr"),
    Fault(name="CR instead of a line end", damage=_cr_instead_of_lf),
    Fault(name="CR CR LF", damage=_doubled_cr),
    Fault(name="LF CR", damage=_lf_cr),
    Fault(name="another line end", damage=_other_line_end),
    Fault(name="no last line end", damage=_no_last_line_end, anywhere=False),
    Fault(name="blank lines behind the end", damage=_blank_lines_behind, anywhere=False),
    _whole_row("blank line", b"", "blank_line"),
    _whole_row("line of a space", b" ", "field_count"),
    _whole_row("comment", b"# exported by a tool", "field_count"),
    _whole_row("total line", b"Total,3", "field_count"),
    _tail("Ctrl-Z behind the end", b"\x1a", "field_count"),
    _tail("NULs behind the end", b"\0" * 512, "nul_byte"),
    Fault(name="too few columns", damage=_too_few),
    _too_many(b","),
    _too_many(b",x"),
    _too_many(b',""'),
    Fault(name="leading delimiter", damage=_leading_delimiter),
    _other_delimiter_from_here(";"),
    _other_delimiter_from_here("\t"),
    _other_delimiter_from_here("|"),
    Fault(name="line ends in quotes", damage=_doubled_newline_content),
    kept_as_is("backslash before an n", "note", rb"a\nb", r"a\nb"),
    kept_as_is("needless quotes", "user_id", b'"me"', "me"),
    kept_as_is("quotes only", "note", b'""""""', '""'),
    kept_as_is(
        "other line ends of Unicode", "note", "a\u0085b\u2028c\u2029d\x0b\x0ce".encode(), "a\x85b\u2028c\u2029d\v\fe"
    ),
)
