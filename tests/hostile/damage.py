"""A fault put into a clean file, and what may come of it: the clean rows, named rejects, or a clear error."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.hostile.twin import HEADER, Row, Twin, joined, quoted, written

NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A file with one fault.

    `touched`: rows of the twin (from 0) that may be missing, if a reject with one of `codes` says so. `refusals`: codes
    of errors that may refuse the whole file; where there are no `codes`, one of them must. Without both the file means
    exactly the twin, but for the rows in `changed`. `added`: rejects of records that the twin does not have.
    """

    content: bytes
    touched: frozenset[int] = frozenset()
    codes: frozenset[str] = NOTHING
    refusals: frozenset[str] = NOTHING
    changed: Mapping[int, Row] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A class of faults. `damage(twin, row)`; `anywhere`: the row matters, so it is put at each position.

    `positions`: the only ones where it can be; None for all. `detectable` is false where the damaged file is a sound
    file of another meaning, which nobody can tell: then only the naive reader is the oracle.
    """

    name: str
    damage: Callable[[Twin, int], Damage]
    anywhere: bool = True
    detectable: bool = True


def with_field(row: Row, name: str, raw: bytes, *, always: bool = False) -> bytes:
    """The record of a row with these bytes where the field `name` stands, as they are."""
    at = HEADER.index(name)
    fields = [quoted(text, always=always).encode() for text in row]
    fields[at] = raw
    return b",".join(fields)


def changed(row: Row, name: str, text: str) -> Row:
    """The row with another text."""
    at = HEADER.index(name)
    return (*row[:at], text, *row[at + 1 :])


def file_of(twin: Twin, records: list[bytes], header: bytes | None = None) -> bytes:
    """The file of these records."""
    first = written(HEADER, always=twin.always_quoted) if header is None else header
    return joined([first, *records], twin.line_end)


def replaced(twin: Twin, row: int, record: bytes, *codes: str) -> Damage:
    """One record by another, which is a reject with one of the codes."""
    records = twin.records()
    records[row] = record
    return Damage(content=file_of(twin, records), touched=frozenset({row}), codes=frozenset(codes))


def inserted(twin: Twin, row: int, record: bytes, *codes: str) -> Damage:
    """A record before the row, which is a reject with one of the codes."""
    records = twin.records()
    records.insert(row, record)
    return Damage(content=file_of(twin, records), codes=frozenset(codes))


def exact(twin: Twin, row: int, record: bytes, meant: Row) -> Damage:
    """One record by another of a known meaning."""
    records = twin.records()
    records[row] = record
    return Damage(content=file_of(twin, records), changed={row: meant})


def refused(content: bytes, *codes: str) -> Damage:
    """A file that is refused as a whole."""
    return Damage(content=content, refusals=frozenset(codes))


def in_field(name: str, field_: str, raw: bytes | Callable[[Row], bytes], code: str) -> Fault:
    """These bytes as a field of one row, which is then a reject."""

    def damage(twin: Twin, row: int) -> Damage:
        content = raw if isinstance(raw, bytes) else raw(twin.rows[row])
        return replaced(twin, row, with_field(twin.rows[row], field_, content, always=twin.always_quoted), code)

    return Fault(name=name, damage=damage)


def kept_as_is(name: str, field_: str, raw: bytes, text: str) -> Fault:
    """These bytes as a field of one row, which holds then exactly `text`."""

    def damage(twin: Twin, row: int) -> Damage:
        record = with_field(twin.rows[row], field_, raw, always=twin.always_quoted)
        return exact(twin, row, record, changed(twin.rows[row], field_, text))

    return Fault(name=name, damage=damage)
