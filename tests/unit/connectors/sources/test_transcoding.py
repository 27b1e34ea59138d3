"""CSV with other delimiters and in other encodings: as strict as comma-separated UTF-8, at the places of the file."""

import gzip
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from connectors.sources.csv_reader import CsvReader
from connectors.sources.rejects import Reject, RejectBatch
from schemas.columns import Column
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.text_form import DELIMITER_NAMES, ENCODING_LABELS, delimiter_of, encoding_of
from tests.unit.connectors.sources.reading import parse_file, spec_of

PYTHON = {"utf-16le": "utf-16-le", "utf-16be": "utf-16-be", "euc-jp": "euc_jp"}
"""Names of Python's codecs."""
WESTERN = {"latin-1", "cp1252"}
RECORDS = (
    "user_id,n,m\r\n",
    'あ,"x,;""y|\tz",東京\n',
    "\n",
    "b,1\n",
    '"い","改\n行, ア",漢\r\n',
    'う,a"b,c\n',
    "え,ｱｲｳ,一\n",
    'お,"x"y,z\n',
    "か,\0,z\n",
    "user_id,n,m\n",
    "き,;|,\t",
)
"""Fields with every delimiter, quotes and line ends in quotes; and one of each fault that a record can have."""
PIECES = (*',,,;|""\n\nab', "\r\n", "\r", "a\tb", "あ", "漢字", '"', '","', "x" * 40, "\0", "user_id,n\n", "ア")
FAULTS = {
    2: "blank_line",
    3: "field_count",
    5: "bare_quote",
    7: "text_after_quote",
    8: "nul_byte",
    9: "repeated_header",
}


def read(content: bytes, *, block: int = 64, record: int = 200, **settings: Any) -> tuple[list[Any], list[Reject]]:
    spec = ImportSpec(columns=(Column(name="n"), Column(name="m")), max_reject_share=1.0, **settings)
    rows: list[Any] = []
    rejects: list[Reject] = []
    for found in CsvReader(io.BytesIO(content), spec, block_bytes=block, record_limit=record):
        if isinstance(found, RejectBatch):
            rejects += found.rejects()
        else:
            rows += [tuple(one.values()) for one in found.to_pylist()]
    return rows, sorted(rejects, key=lambda one: one.ordinal or 0)


def encoded(records: Sequence[str], delimiter: str, encoding: str) -> list[bytes]:
    """The records as they stand in a file: the delimiter in place of the comma, and the other way round."""
    exchanged = [one.translate(str.maketrans(f",{delimiter}", f"{delimiter},")) for one in records]
    if encoding in WESTERN:
        exchanged = ["".join(c if c.isascii() else "é" for c in one) for one in exchanged]
    mark = b"\xff\xfe" if encoding == "utf-16" else b""
    codec = "utf-16-le" if encoding == "utf-16" else PYTHON.get(encoding, encoding)
    return [mark + exchanged[0].encode(codec), *(one.encode(codec) for one in exchanged[1:])]


@pytest.mark.parametrize("delimiter", DELIMITER_NAMES.values())
@pytest.mark.parametrize("encoding", ENCODING_LABELS)
def test_rows_and_rejects_are_those_of_comma_separated_utf8_at_their_places(delimiter: str, encoding: str) -> None:
    parts = encoded(RECORDS, delimiter, encoding)
    starts = [sum(map(len, parts[:n])) for n in range(len(parts))]
    lines = [1 + sum(part.count("\n") for part in RECORDS[:n]) for n in range(len(parts))]
    plain, _ = read("".join(RECORDS).encode())
    expected = [
        (n, *(str(value).translate(str.maketrans(f",{delimiter}", f"{delimiter},")) for value in row))
        for n, *row in plain
    ]
    if encoding in WESTERN:
        expected = [(n, *("".join(c if c.isascii() else "é" for c in value) for value in row)) for n, *row in expected]

    for block in (3, 64, 1 << 20):
        rows, rejects = read(b"".join(parts), block=block, delimiter=delimiter, encoding=encoding)
        assert rows == expected
        assert [(one.code.value, one.line, one.byte_offset) for one in rejects] == [
            (code, lines[n], starts[n]) for n, code in FAULTS.items()
        ]
        assert rejects[1].raw == "b{}1".format(r"\t" if delimiter == "\t" else delimiter)


@pytest.mark.parametrize(
    ("encoding", "undecodable"),
    [
        ("cp932", b"\x81"),
        ("cp932", b"\x81\x20"),
        ("euc-jp", b"\xa4"),
        ("cp1252", b"\x81"),
        ("utf-16le", b"\x00\xd8"),
        ("utf-8", b"\xff"),
    ],
)
def test_bytes_that_do_not_decode_are_a_reject_at_their_place(encoding: str, undecodable: bytes) -> None:
    header, first, second, last = encoded(
        ("user_id,n,m\n", "a,é,x\n" if encoding in WESTERN else "あ,い,x\n", "b,", "c,1,2\n"), ",", encoding
    )
    rest = encoded((",y\n",), ",", encoding)[0]
    content = header + first + second + undecodable + rest + last

    for block in (3, 1 << 20):
        rows, [reject] = read(content, block=block, encoding=encoding)
        assert [row[0] for row in rows] == [0, 2]
        place = len(header + first + second)
        assert (reject.code, reject.line, reject.byte_offset) == ("invalid_utf8", 3, len(header + first))
        assert reject.reason == (
            f"byte {place} is {undecodable[0]:#04x}, which is not valid {ENCODING_LABELS[encoding_of(encoding)]} there"
        )


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "utf-16"])
@pytest.mark.parametrize("size", [10, 500])
def test_unclosed_quote_is_named_at_its_place(encoding: str, size: int) -> None:
    """Also in a record over the limit, of which nothing is kept."""
    parts = encoded(("user_id,n,m\n", "あ,い,x\n", 'う,え,"' + "漢\n" * size), ",", encoding)
    place = len(b"".join(parts[:2])) + len(encoded(("うえ,,", "う,え,"), ",", encoding)[1])
    for block in (5, 1 << 20):
        with pytest.raises(UserError, match=rf"UNCLOSED_QUOTE: .* line 3 \(byte {place}\)"):
            read(b"".join(parts), block=block, encoding=encoding)


def outcome(content: bytes, **settings: Any) -> tuple[list[Any], list[tuple[Any, ...]], str]:
    """Rows, rejects, and the code of the error with its place."""
    spec = ImportSpec(columns=(Column(name="n"),), max_reject_share=1.0, **settings)
    rows: list[Any] = []
    rejects: list[tuple[Any, ...]] = []
    try:
        for found in CsvReader(io.BytesIO(content), spec, block_bytes=37, record_limit=90):
            if isinstance(found, RejectBatch):
                rejects += [(r.ordinal, r.line, r.byte_offset, r.code.value, r.column) for r in found.rejects()]
            else:
                rows += [tuple(one.values()) for one in found.to_pylist()]
    except UserError as exc:
        return rows, sorted(rejects), f"{exc.code} {exc.detail.get('byte_offset', '')}"
    return rows, sorted(rejects), ""


@pytest.mark.parametrize(
    ("delimiter", "encoding"), [(";", "utf-8"), (";", "cp932"), (",", "euc-jp"), ("|", "utf-16le")]
)
def test_any_text_is_read_as_it_is_in_comma_separated_utf8(delimiter: str, encoding: str) -> None:
    """Random structure: quotes anywhere, line ends of every kind, records over the limit.

    Not with tabs: an id of one comma would become an id of white space.
    """
    dice = random.Random(f"{delimiter} {encoding}")
    exchange = str.maketrans(f",{delimiter}", f"{delimiter},")
    codec = PYTHON.get(encoding, encoding)
    for _ in range(300):
        text = "user_id,n\n" + "".join(dice.choice(PIECES) for _ in range(dice.randint(1, 60)))
        utf8 = text.encode()

        def moved(place: Any, utf8: bytes = utf8) -> Any:
            return len(utf8[:place].decode().encode(codec)) if isinstance(place, int) else place

        rows, rejects, error = outcome(utf8)
        code, _, at = error.partition(" ")
        assert outcome(text.translate(exchange).encode(codec), delimiter=delimiter, encoding=encoding) == (
            [(n, *(value and value.translate(exchange) for value in row)) for n, *row in rows],
            [(n, line, moved(place), *rest) for n, line, place, *rest in rejects],
            f"{code} {moved(int(at))}" if at else error,
        )


def test_record_over_the_limit_is_a_reject_at_its_place() -> None:
    parts = encoded(("user_id,n,m\n", "あ,い,x\n", "う,え," + "漢" * 500 + "\n", "お,か,y\n", "か,\n"), ";", "cp932")
    rows, rejects = read(b"".join(parts), block=32, delimiter=";", encoding="cp932")
    assert [row[1] for row in rows] == ["あ", "お"]
    assert [(one.code.value, one.line, one.byte_offset) for one in rejects] == [
        ("row_too_large", 3, len(b"".join(parts[:2]))),
        ("field_count", 5, len(b"".join(parts[:4]))),
    ]


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("user_id,n,m\n".encode("utf-16-le"), {"encoding": "utf-16"}, "no byte order mark: .* --encoding utf-16le or"),
        ("user_id,n,m\n".encode("utf-16"), {}, "is UTF-16: say so with --encoding utf-16"),
        (
            b"user_id,n,m\x81\n",
            {"encoding": "cp932"},
            r"header is not Shift_JIS \(CP932\): byte 11 of the file is 0x81",
        ),
        (b"user_id;n;m\n", {}, "MISSING_COLUMN"),
        (b"user_id,n,m\n", {"delimiter": ";"}, "MISSING_COLUMN"),
        (b"", {"encoding": "utf-16"}, "EMPTY_FILE"),
    ],
)
def test_file_that_is_written_otherwise_is_refused(content: bytes, settings: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(content, **settings)


def test_repeated_header_is_found_with_names_that_hold_a_comma() -> None:
    content = b'user_id;n;m;"a,b"\nx;1;2;3\n"user_id";"n";m;"a,b"\n'
    rows, [reject] = read(content, delimiter=";")
    assert ([row[1] for row in rows], reject.code, reject.line) == (["x"], "repeated_header", 3)


def test_mark_in_a_second_file_is_a_reject() -> None:
    parts = encoded(("\ufeffuser_id,n,m\n", "a,1,2\n", "\ufeffb,1,2\n"), ",", "utf-16le")
    rows, [reject] = read(b"".join(parts), encoding="utf-16le")
    assert ([row[1] for row in rows], reject.code, reject.byte_offset) == (
        ["a"],
        "byte_order_mark",
        len(parts[0] + parts[1]),
    )


@pytest.mark.parametrize("name", ["f.csv", "f.csv.gz"])
def test_file_is_read_through_the_child(name: str, tmp_path: Path) -> None:
    content = "user_id;名;n\nあ;a,b;1\nい;x;y\n".encode("cp932")
    file = tmp_path / name
    file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    spec = spec_of("name=名", "n:long", delimiter=";", encoding="cp932")
    found = parse_file(file, spec=spec)
    assert found.rows == [(0, "あ", "a,b", 1)]
    assert [(one.code, one.line, one.byte_offset, one.column) for one in found.rejects] == [
        ("bad_value", 3, len("user_id;名;n\nあ;a,b;1\n".encode("cp932")), "n")
    ]


def test_names_are_those_that_people_use() -> None:
    assert [delimiter_of(text) for text in ("comma", ";", "Tab", r"\t", "\t", "bar")] == [
        ",",
        ";",
        "\t",
        "\t",
        "\t",
        "|",
    ]
    assert [encoding_of(text) for text in ("Shift_JIS", "CP932", "UTF-16", "latin1", "euc_jp")] == [
        *("cp932", "cp932", "utf-16", "latin-1", "euc-jp"),
    ]
    for wrong in ("", " ", ",,", "x"):
        with pytest.raises(UserError, match=r"BAD_SPEC: delimiter .* is not one of comma, semicolon, tab, bar"):
            delimiter_of(wrong)
    with pytest.raises(UserError, match="BAD_SPEC: encoding 'utf-7' is not one of utf-8, cp932"):
        encoding_of("utf-7")


def test_spec_says_only_what_is_unusual() -> None:
    spec = ImportSpec(delimiter="\t", encoding="cp932")
    assert ImportSpec.from_record(spec.as_record()) == spec
    assert not {"delimiter", "encoding"} & ImportSpec().as_record().keys()
    assert spec.with_changes({"delimiter": ",", "encoding": "utf-8"}) == ImportSpec()
    assert spec.with_changes({"delimiter": None, "encoding": None}) == ImportSpec()
