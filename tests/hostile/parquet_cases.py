"""Parquet files that are odd, damaged or lie: expect the rows that were written, an error, or rejects.

A flipped bit in the data of a page with a checksum is always detected. In a page without one, in a page header and in
the footer, a bit may change a value, a unit or a count, and the file looks as sound as before: then the reader is at
fault only if it crashes or uses unbounded memory.
"""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.import_spec import ImportSpec
from tests.hostile.judging import Outcome
from tests.hostile.parquet_bytes import MAGIC, footer_of, parquet, with_footer
from tests.hostile.twin import SPEC, clean_row, values
from tests.unit.connectors.sources.reading import spec_of

ROWS: Final = 400
PARQUET_SPEC: Final = ImportSpec(columns=SPEC.columns, format="parquet")
CLEAN: Final = Outcome(rows=[(n, *values(clean_row(n))) for n in range(ROWS)])


def table() -> pa.Table:
    """The rows of the twin, with typed columns."""
    rows = [clean_row(n) for n in range(ROWS)]
    return pa.table(
        {
            "user_id": [row[0] for row in rows],
            "n": pa.array([int(row[1]) for row in rows], pa.int64()),
            "d": pa.array([float(row[2]) for row in rows], pa.float64()),
            "note": [row[3] for row in rows],
            "day": [date.fromisoformat(row[4]) for row in rows],
            "at": pa.array([datetime.fromisoformat(row[5]) for row in rows], pa.timestamp("us", "UTC")),
            "extra": [row[6] for row in rows],
        }
    )


def clean(**settings: Any) -> bytes:
    """A sound file."""
    out = io.BytesIO()
    pq.write_table(table(), out, **settings)
    return out.getvalue()


WRITERS: Final[dict[str, dict[str, Any]]] = {
    "dictionary, snappy, checksums": {"write_page_checksum": True},
    "plain": {"compression": "none", "use_dictionary": False},
    "plain, checksums": {"compression": "none", "use_dictionary": False, "write_page_checksum": True},
    "pages of version 2, zstd": {"data_page_version": "2.0", "compression": "zstd", "write_page_checksum": True},
    "pages of version 2, plain": {"data_page_version": "2.0", "compression": "none"},
    "gzip": {"compression": "gzip"},
    "lz4": {"compression": "lz4"},
    "brotli": {"compression": "brotli"},
    "small pages": {"data_page_size": 100, "write_batch_size": 10, "write_page_checksum": True},
    "groups of 7": {"row_group_size": 7},
    "delta": {
        "use_dictionary": False,
        "column_encoding": {
            "user_id": "DELTA_BYTE_ARRAY", "note": "DELTA_LENGTH_BYTE_ARRAY", "n": "DELTA_BINARY_PACKED",
            "d": "BYTE_STREAM_SPLIT",
        },
    },
    "page index": {"write_page_index": True, "sorting_columns": [pq.SortingColumn(0)]},
    "no statistics, no schema of Arrow": {"write_statistics": False, "store_schema": False},
}  # fmt: skip
"""Writer settings for sound files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A file. `rows`: its meaning, if it may be read at all; `codes`: refusals that are allowed instead."""

    name: str
    content: bytes
    spec: ImportSpec = PARQUET_SPEC
    rows: Outcome | None = CLEAN
    codes: frozenset[str] = frozenset()

    def verdict(self, outcome: Outcome) -> str:
        """What is wrong with an outcome; empty if nothing is."""
        if outcome.refusal:
            return "" if outcome.refusal in self.codes else f"{self.name}: refused with {outcome.refusal}"
        if self.rows is None:
            return f"{self.name}: silent misread: read, and not refused with {sorted(self.codes)}"
        same = list(outcome.rows) == list(self.rows.rows) and list(outcome.rejects) == list(self.rows.rejects)
        return "" if same else f"{self.name}: silent misread: {outcome.rows[:1]} {outcome.rejects[:3]}"


DAMAGED: Final = frozenset({"CORRUPT_FILE"})


def damaged() -> Iterator[Case]:
    """Files that are incomplete, or lie about themselves."""
    whole = clean(**WRITERS["plain, checksums"])
    for eighth in range(1, 8):
        cut = whole[: len(whole) * eighth // 8]
        yield Case(name=f"cut at {eighth}/8", content=cut, rows=None, codes=DAMAGED)
        yield Case(name=f"cut at {eighth}/8, with the end", content=cut + whole[-8:], rows=None, codes=DAMAGED)
    footer = footer_of(whole)
    for name, content in {
        "last byte missing": whole[:-1],
        "magic at the end": whole[:-4] + b"PAR2",
        "magic of an encrypted footer": whole[:-4] + b"PARE",
        "magic at the start": b"PARE" + whole[4:],
        "nothing but magic": MAGIC * 2,
        "garbage behind": whole + b"garbage",
        "footer of no length": whole[:-8] + struct.pack("<I", 0) + MAGIC,
        "footer longer than the file": whole[:-8] + struct.pack("<I", len(whole) + 1) + MAGIC,
        "footer of 4 GiB": whole[:-8] + struct.pack("<I", 2**32 - 1) + MAGIC,
        "footer shorter by one": whole[:-8] + struct.pack("<I", len(footer) - 1) + MAGIC,
        "footer cut": with_footer(whole, footer[: len(footer) // 2]),
        "footer of NULs": with_footer(whole, bytes(len(footer))),
        "data of NULs": MAGIC + bytes(len(whole) - 4 - 8 - len(footer)) + whole[-8 - len(footer) :],
        "data gone": MAGIC + whole[-8 - len(footer) :],
        "data moved by a byte": MAGIC + b"\0" + whole[4:],
    }.items():
        yield Case(name=name, content=content, rows=None, codes=DAMAGED)


def liars() -> Iterator[Case]:
    """Wrong statistics and names, and types that cannot be kept."""
    honest = clean(compression="none", use_dictionary=False, store_schema=False)
    footer = footer_of(honest)
    lowest, highest = b"user-000000", b"user-%06d" % (ROWS - 1)
    lying = footer.replace(lowest, b"zzzz-999999").replace(highest, b"aaaa-000000")
    assert lying != footer
    yield Case(name="statistics that lie", content=with_footer(honest, lying))
    yield Case(
        name="name of the id column",
        content=with_footer(honest, footer.replace(b"user_id", b"user_ID")),
        rows=None,
        codes=frozenset({"MISSING_COLUMN"}),
    )
    yield Case(
        name="NUL in a name",
        content=with_footer(honest, footer.replace(b"\x05extra", b"\x05note\0")),
    )
    one = {"user_id": ["a"]}
    for name, column in {
        "list": [[1]],
        "struct": [{"a": 1}],
        "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        "decimal": [Decimal("1.5")],
        "time": pa.array([1], pa.time64("us")),
        "duration": pa.array([timedelta(seconds=1)]),
        "nothing but null": pa.nulls(1),
        "bytes of fixed size": pa.array([b"ab"], pa.binary(2)),
        "dictionary of numbers": pa.array([1]).dictionary_encode(),
    }.items():
        for type_ in ("string", "long"):
            value = {"dictionary of numbers as long": 1, "decimal as string": "1.5"}.get(f"{name} as {type_}")
            yield Case(
                name=f"{name} as {type_}",
                content=parquet({**one, "c": column}),
                spec=spec_of(f"c:{type_}"),
                rows=None if value is None else Outcome(rows=[(0, "a", value)]),
                codes=frozenset({"BAD_COLUMN_TYPE"}),
            )
    yield Case(
        name="names with dots",
        content=parquet({"user_id": ["a"], "c": [{"d": "nested"}], "c.d": ["flat"]}),
        spec=spec_of("x=c.d"),
        rows=Outcome(rows=[(0, "a", "flat")]),
    )
    odd = pa.array([b"a", None, b"", b"\xff", b"x\0", b"\xed\xa0\x80", b"b"], pa.binary())
    codes = ["id_missing", "id_empty", "invalid_utf8", "nul_byte", "invalid_utf8"]
    yield Case(
        name="ids that are none",
        content=parquet({"user_id": odd}),
        spec=spec_of(),
        rows=Outcome(
            rows=[(0, "a"), (6, "b")], rejects=[(n, None, None, code) for n, code in enumerate(codes, start=1)]
        ),
    )
    yield from moments_of_int96()


def moments_of_int96() -> Iterator[Case]:
    """Days and nanoseconds in 12 bytes: a far wider range than nanoseconds in 64 bits can represent."""
    for year in (1, 1600, 2024, 2500, 9999):
        moment = datetime(year, 6, 7, 8, 9, 10, 123456, UTC)
        content = parquet(
            {"user_id": ["a"], "at": pa.array([moment], pa.timestamp("us", "UTC"))},
            use_deprecated_int96_timestamps=True,
        )
        micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        yield Case(
            name=f"INT96 of {year}",
            content=content,
            spec=spec_of("at:timestamp", timezone="UTC"),
            rows=Outcome(rows=[(0, "a", micros)]),
        )
        nanos = (8 * 3600 + 9 * 60 + 10) * 10**9 + 123_456_000
        for odd in (1, 616, 384, 999):
            changed = content.replace(struct.pack("<q", nanos), struct.pack("<q", nanos + odd))
            assert changed != content
            yield Case(
                name=f"INT96 of {year} and {odd} ns",
                content=changed,
                spec=spec_of("at:timestamp", timezone="UTC"),
                rows=Outcome(rejects=[(0, None, None, "bad_value")]),
            )


def sound() -> Iterator[Case]:
    """The same rows, written in every way."""
    for name, settings in WRITERS.items():
        yield Case(name=name, content=clean(**settings))


KINDS: Final[dict[str, Callable[[], Iterator[Case]]]] = {"sound": sound, "damaged": damaged, "liars": liars}
