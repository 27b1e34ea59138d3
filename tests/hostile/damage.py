"""A fault put into a clean file, and the allowed results: the clean rows, named rejects, or a clear error."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.hostile.twin import HEADER, Row, Twin, joined, quoted, written

NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A file with one fault.

    `touched`: rows of the twin (from 0) that may be missing, if a reject with one of `codes` accounts for them.
    `refusals`: error codes that may refuse the whole file; without `codes`, one of them must. Without both, the file
    means exactly the twin, except for the rows in `changed`. `codes` without `touched`: rejects of records that the
    twin lacks.
    """

    content: bytes
    touched: frozenset[int] = frozenset()
    codes: frozenset[str] = NOTHING
    refusals: frozenset[str] = NOTHING
    changed: Mapping[int, Row] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A class of faults. `damage(twin, row)`; `anywhere`: the row matters, so the fault is put at each position.

    `detectable` is false if the damaged file is a sound file with another meaning, which no reader can detect: then
    only the naive reader is the oracle.
    """

    name: str
    damage: Callable[[Twin, int], Damage]
    anywhere: bool = True
    detectable: bool = True


def with_field(row: Row, name: str, raw: bytes, *, always: bool = False) -> bytes:
    """The record of a row, with these raw bytes as the field `name`."""
    at = HEADER.index(name)
    fields = [quoted(text, always=always).encode() for text in row]
    fields[at] = raw
    return b",".join(fields)


def changed(row: Row, name: str, text: str) -> Row:
    """The row with another text in one field."""
    at = HEADER.index(name)
    return (*row[:at], text, *row[at + 1 :])


def file_of(twin: Twin, records: list[bytes], header: bytes | None = None) -> bytes:
    """The file with these records."""
    first = written(HEADER, always=twin.always_quoted) if header is None else header
    return joined([first, *records], twin.line_end)


def replaced(twin: Twin, row: int, record: bytes, *codes: str) -> Damage:
    """Replace a record by one that is rejected with one of the codes."""
    records = twin.records()
    records[row] = record
    return Damage(content=file_of(twin, records), touched=frozenset({row}), codes=frozenset(codes))


def inserted(twin: Twin, row: int, record: bytes, *codes: str) -> Damage:
    """Insert a record before the row that is rejected with one of the codes."""
    records = twin.records()
    records.insert(row, record)
    return Damage(content=file_of(twin, records), codes=frozenset(codes))


def exact(twin: Twin, row: int, record: bytes, meant: Row) -> Damage:
    """Replace a record by another whose meaning is known."""
    records = twin.records()
    records[row] = record
    return Damage(content=file_of(twin, records), changed={row: meant})


def refused(content: bytes, *codes: str) -> Damage:
    """A file that is refused as a whole."""
    return Damage(content=content, refusals=frozenset(codes))


def in_field(name: str, field_: str, raw: bytes | Callable[[Row], bytes], code: str) -> Fault:
    """Put these bytes into a field of one row, which is then rejected."""

    def damage(twin: Twin, row: int) -> Damage:
        content = raw if isinstance(raw, bytes) else raw(twin.rows[row])
        return replaced(twin, row, with_field(twin.rows[row], field_, content, always=twin.always_quoted), code)

    return Fault(name=name, damage=damage)


def kept_as_is(name: str, field_: str, raw: bytes, text: str) -> Fault:
    """Put these bytes into a field of one row, whose value is then exactly `text`."""

    def damage(twin: Twin, row: int) -> Damage:
        record = with_field(twin.rows[row], field_, raw, always=twin.always_quoted)
        return exact(twin, row, record, changed(twin.rows[row], field_, text))

    return Fault(name=name, damage=damage)
