"""Faults of the header, and headers in place of rows."""

from typing import Final

from tests.hostile.damage import Damage, Fault, file_of, inserted, refused
from tests.hostile.twin import HEADER, Row, Twin, joined, quoted, written


def _header(twin: Twin, names: tuple[str, ...]) -> bytes:
    return file_of(twin, twin.records(), ",".join(quoted(name) for name in names).encode())


def _renamed(old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name == old else name for name in HEADER)


def _wrong(name: str, names: tuple[str, ...], *codes: str) -> Fault:
    return Fault(name=name, anywhere=False, damage=lambda twin, _: refused(_header(twin, names), *codes))


def _raw(name: str, header: bytes, *codes: str) -> Fault:
    return Fault(
        name=name, anywhere=False, damage=lambda twin, _: refused(file_of(twin, twin.records(), header), *codes)
    )


def _other_order(twin: Twin, _: int) -> Damage:
    """Columns and header both in another order: the same rows."""
    records = [written(tuple(reversed(row)), always=twin.always_quoted) for row in twin.rows]
    return Damage(content=file_of(twin, records, written(tuple(reversed(HEADER)))))


def _doubled_but_not_kept(twin: Twin, _: int) -> Damage:
    """A column that is not kept may occur twice."""
    records = [written((*row, row[-1]), always=twin.always_quoted) for row in twin.rows]
    return Damage(content=file_of(twin, records, written((*HEADER, "extra"))))


def _nameless(twin: Twin, _: int) -> Damage:
    """A delimiter at the end of every line adds a column without a name."""
    return Damage(content=file_of(twin, [r + b"," for r in twin.records()], written(HEADER) + b","))


def _trailing_but_not_in_header(twin: Twin, _: int) -> Damage:
    return Damage(
        content=file_of(twin, [r + b"," for r in twin.records()]),
        touched=frozenset(range(len(twin.rows))),
        codes=frozenset({"field_count"}),
    )


def _shorter(twin: Twin, _: int) -> Damage:
    return Damage(
        content=_header(twin, HEADER[:-1]),
        touched=frozenset(range(len(twin.rows))),
        codes=frozenset({"field_count"}),
    )


def _again(twin: Twin, row: int) -> Damage:
    """Two concatenated files, the second with its header."""
    return inserted(twin, row, written(HEADER, always=twin.always_quoted), "repeated_header")


def _again_with_mark(twin: Twin, row: int) -> Damage:
    header = b"\xef\xbb\xbf" + written(HEADER, always=twin.always_quoted)
    return inserted(twin, row, header, "bare_quote" if twin.always_quoted else "repeated_header")


def _again_quoted_otherwise(twin: Twin, row: int) -> Damage:
    return inserted(twin, row, written(HEADER, always=not twin.always_quoted), "repeated_header")


def _again_in_another_order(twin: Twin, row: int) -> Damage:
    """From this row on, a new header gives the columns in another order, so the following rows do not fit."""
    order = (3, 1, 2, 0, 4, 5, 6)  # swaps id and note, both of them text

    def turned(texts: Row) -> bytes:
        return written(tuple(texts[at] for at in order), always=twin.always_quoted)

    records = [*twin.records()[:row], turned(HEADER), *map(turned, twin.rows[row:])]
    return refused(file_of(twin, records), "SECOND_HEADER")


FAULTS: Final = (
    Fault(
        name="no header",
        anywhere=False,
        damage=lambda twin, _: refused(joined(twin.records(), twin.line_end), "MISSING_COLUMN"),
    ),
    _wrong("id column in upper case", _renamed("user_id", "User_ID"), "MISSING_COLUMN"),
    _wrong("space before a name", _renamed("n", " n"), "MISSING_COLUMN"),
    _wrong("no-break space behind a name", _renamed("n", "n\u00a0"), "MISSING_COLUMN"),
    _wrong("zero-width space in a name", _renamed("note", "no\u200bte"), "MISSING_COLUMN"),
    _wrong("Cyrillic in a name", _renamed("day", "d\u0430y"), "MISSING_COLUMN"),
    _wrong("id column twice", _renamed("extra", "user_id"), "DUPLICATE_COLUMN"),
    _wrong("kept column twice", _renamed("extra", "note"), "DUPLICATE_COLUMN"),
    _wrong("kept column missing", _renamed("note", "notes"), "MISSING_COLUMN"),
    _raw("header with semicolons", ";".join(HEADER).encode(), "MISSING_COLUMN"),
    _raw("blank line before the header", b"\n" + ",".join(HEADER).encode(), "BAD_HEADER"),
    _raw("sep= before the header", b"sep=,\n" + ",".join(HEADER).encode(), "MISSING_COLUMN"),
    _raw("title before the header", b"Export of 2024\n" + ",".join(HEADER).encode(), "MISSING_COLUMN"),
    _raw("header with a bare quote", b'user"_id' + ",".join(HEADER)[7:].encode(), "BAD_HEADER"),
    _raw("header with an open quote", b'"' + ",".join(HEADER).encode(), "UNCLOSED_QUOTE", "BAD_HEADER"),
    _raw("header with a NUL", ",".join(HEADER).encode() + b"\0", "BAD_HEADER"),
    _raw("header in Latin-1", ",".join(HEADER).encode() + b"\xe9", "NOT_UTF8_HEADER"),
    _raw("line ends of old Macs", ",".join(HEADER).encode() + b"\ra,1", "BAD_HEADER"),
    Fault(name="columns in another order", damage=_other_order, anywhere=False),
    Fault(name="column that is not kept twice", damage=_doubled_but_not_kept, anywhere=False),
    Fault(name="column without a name", damage=_nameless, anywhere=False),
    Fault(name="delimiter at the end of all rows", damage=_trailing_but_not_in_header, anywhere=False),
    Fault(name="header of fewer columns", damage=_shorter, anywhere=False),
    Fault(name="header again", damage=_again),
    Fault(name="header again, with a byte order mark", damage=_again_with_mark),
    Fault(name="header again, quoted otherwise", damage=_again_quoted_otherwise),
    Fault(name="header again, in another order", damage=_again_in_another_order),
)
