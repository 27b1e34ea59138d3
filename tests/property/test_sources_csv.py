"""CSV: for any writer, block size and fault, the reader finds the table and the named faults."""

import csv
import io
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sources.csv_reader import CsvReader
from schemas.kernels.runs import RUN_BYTES
from tests.examples import examples
from tests.hostile import naive_csv
from tests.hostile.judging import naive_outcome
from tests.hostile.reading import outcome_of
from tests.unit.connectors.sources.reading import read_csv, spec_of

cells = st.text(
    st.one_of(
        st.sampled_from("\",\n\r \t'é日\u3000😀;|\ufeff"),
        st.characters(codec="utf-8", exclude_characters="\0"),
    ),
    max_size=40,
)
ids = cells.filter(lambda text: text and not text.isspace() and not text.startswith("\ufeff"))
tables = st.integers(0, 3).flatmap(
    lambda extra: st.lists(st.tuples(ids, *(cells for _ in range(extra))), max_size=12).map(lambda rows: (extra, rows))
)
layouts = st.fixed_dictionaries({"block_bytes": st.integers(1, 40), "batch_rows": st.integers(1, 4)})


@given(
    table=tables,
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    bom=st.booleans(),
    final_line_end=st.booleans(),
    layout=layouts,
)
@examples(300)
def test_a_table_written_by_pythons_csv_module_is_read_back_exactly(
    table: tuple[int, list[tuple[str, ...]]],
    line_end: str,
    quoting: Any,
    bom: bool,  # noqa: FBT001
    final_line_end: bool,  # noqa: FBT001
    layout: dict[str, int],
) -> None:
    extra, rows = table
    if any("\r" in cell for row in rows for cell in row):
        quoting = csv.QUOTE_ALL  # Python 3.11's writer leaves a lone CR unquoted, against RFC 4180
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, lineterminator=line_end)
    names = [f"c{i}" for i in range(extra)]
    writer.writerow(["user_id", *names])
    writer.writerows(rows)
    written = text.getvalue() if final_line_end else text.getvalue().removesuffix(line_end)
    content = (b"\xef\xbb\xbf" if bom else b"") + written.encode()
    spec = spec_of(*names, null_values=())

    for kept in ({}, layout):
        found = read_csv(content, spec=spec, **kept)
        assert found.rejects == []
        assert found.rows == [(n, *row) for n, row in enumerate(rows)]


soup = st.lists(
    st.one_of(
        st.sampled_from(
            [b'"', b",", b"\n", b"\r", b"\r\n", b"a", b"\0", b"\xff", "é".encode(), b" ", b'""', b'a,"b"\n']
        ),
        st.integers(RUN_BYTES - 1, 2 * RUN_BYTES + 1).map(lambda size: b"-" * size),
    ),
    max_size=60,
).map(b"".join)


@given(content=soup, limit=st.sampled_from([9, 200]), layout=layouts)
@examples(600)
def test_any_bytes_match_a_plain_state_machine_in_any_blocks(
    content: bytes, limit: int, layout: dict[str, int]
) -> None:
    file = b"user_id,c\n" + content
    expected = naive_outcome(lambda: naive_csv.read(file, (("user_id", "id"), ("c", "string")), limit=limit))
    for kept in ({"record_limit": limit}, {"record_limit": limit, **layout}):
        assert outcome_of(lambda kept=kept: CsvReader(io.BytesIO(file), spec_of("c"), **kept)) == expected


@dataclass(frozen=True)
class Fault:
    record: bytes
    code: str


FAULTS = [
    Fault(b"k,1", "field_count"),
    Fault(b"k,1,x,", "field_count"),
    Fault(b"k,1,x,y", "field_count"),
    Fault(b'k,1,x"y"', "bare_quote"),
    Fault(b'"k"k,1,x', "text_after_quote"),
    Fault(b"k,1,x\ry", "lone_cr"),
    Fault(b"k,1,\0", "nul_byte"),
    Fault(b"k,1,\xe9t\xe9", "invalid_utf8"),
    Fault(b"", "blank_line"),
    Fault(b",1,x", "id_empty"),
    Fault(b"   ,1,x", "id_blank"),
    Fault(b"k" * 192 + b",1,x", "id_too_long"),
    Fault(b"k,one,x", "bad_value"),
    Fault(b"k,1," + b"x" * 3_000, "row_too_large"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f.code}-{f.record[:8]!r}")
@pytest.mark.parametrize("position", ["first", "middle", "last"])
@pytest.mark.parametrize("style", ["plain", "quoted", "crlf", "unicode"])
@pytest.mark.parametrize("block_bytes", [61, 1 << 20])
def test_polluted_file_yields_the_clean_rows_and_the_named_reject(
    fault: Fault, position: str, style: str, block_bytes: int
) -> None:
    end = b"\r\n" if style == "crlf" else b"\n"
    clean = []
    for i in range(30):
        text = {"quoted": f'v,{i}\n"q"', "unicode": f"日本é{i}"}.get(style, f"v{i}")
        clean.append((f"u{i}", i, text))
    records = [b'u%d,%d,"%b"' % (i, n, t.replace('"', '""').encode()) for i, (_, n, t) in enumerate(clean)]
    at = {"first": 0, "middle": 15, "last": 30}[position]
    records.insert(at, fault.record)
    content = end.join([b"user_id,n,c", *records]) + end

    found = read_csv(content, "n:long", "c", block_bytes=block_bytes, record_limit=2_000)

    assert found.codes == [(at, fault.code)]
    assert [row[1:] for row in found.rows] == clean
    assert found.rejects[0].byte_offset == len(end.join([b"user_id,n,c", *records[:at]]) + end)
