"""Avro files that are odd, damaged or lie: expect the rows that were written, an error, or rejects.

A block has no checksum but for snappy: a changed byte of a text or a number may make another valid file. What is
checked is that no size, branch, symbol, count or marker is believed.
"""

import json
import zlib
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any, Final

from schemas.import_spec import ImportSpec
from tests.hostile.avro_bytes import CODECS, MAGIC, SYNC, avro, block, header, record, rows_of, text, varint
from tests.hostile.judging import Outcome
from tests.hostile.parquet_cases import ROWS, Case
from tests.hostile.twin import SPEC, clean_row
from tests.unit.connectors.sources.reading import spec_of

AVRO_SPEC: Final = ImportSpec(columns=SPEC.columns, format="avro")
NODE: Final = {
    "type": "record",
    "name": "Node",
    "fields": [{"name": "next", "type": ["null", "Node"]}, {"name": "tags", "type": {"type": "map", "values": "Node"}}],
}
TWIN: Final = record(
    ("user_id", "string"),
    ("n", ["null", "long"]),
    ("tree", NODE),
    ("d", ["double", "null"]),
    ("note", ["null", "string"]),
    ("day", {"type": "int", "logicalType": "date"}),
    ("lists", {"type": "array", "items": ["null", "string", {"type": "array", "items": "bytes"}]}),
    ("at", {"type": "long", "logicalType": "timestamp-micros"}),
    ("extra", "string"),
)
IDS: Final = record(("user_id", "string"))
TYPED: Final = record(("user_id", "string"), ("c", ["null", {"type": "enum", "name": "E", "symbols": ["x", "y"]}]))
DAMAGED: Final = frozenset({"CORRUPT_FILE"})
CUT: Final = frozenset({"TRUNCATED_FILE"})


def twin() -> list[dict[str, Any]]:
    """The rows of the twin, with typed columns, and columns between them that are read over."""
    return [
        {
            "user_id": row[0],
            "n": int(row[1]),
            "tree": {"next": {"next": None, "tags": {}} if n % 2 else None, "tags": {"k": {"next": None, "tags": {}}}},
            "d": float(row[2]),
            "note": row[3],
            "day": date.fromisoformat(row[4]),
            "lists": [None, "x", [b"y", b""]][: n % 4],
            "at": datetime.fromisoformat(row[5]),
            "extra": row[6],
        }
        for n in range(ROWS)
        for row in [clean_row(n)]
    ]


def sound() -> Iterator[Case]:
    """The same rows, written in every way."""
    rows = twin()
    for codec in CODECS:
        for per_block in (1, 7, ROWS):
            yield Case(
                name=f"{codec}, blocks of {per_block}", content=avro(TWIN, rows, codec, per_block), spec=AVRO_SPEC
            )
    content = rows_of(TWIN, rows)
    checked = zlib.compress(content)[2:-1]
    yield Case(
        name="deflate with the rest of a checksum",
        content=header(TWIN, b"deflate") + block(ROWS, checked),
        spec=AVRO_SPEC,
    )
    yield Case(
        name="no codec, further metadata, empty blocks",
        content=header(TWIN, None, {b"x": b"\xff" * 100}) + block(0, b"") + block(ROWS, content) + block(0, b""),
        spec=AVRO_SPEC,
    )
    plain = header(TWIN)[:-17]  # without the end of the map, and the marker
    yield Case(
        name="metadata in two blocks, one with its size",
        content=plain + varint(-1) + varint(4) + text(b"k") + text(b"v") + b"\0" + SYNC + block(ROWS, content),
        spec=AVRO_SPEC,
    )


def damaged() -> Iterator[Case]:
    """Containers that are incomplete, or lie about themselves."""
    whole = avro(TWIN, twin(), "deflate", 50)
    start = len(header(TWIN, b"deflate"))
    one = rows_of(IDS, [{"user_id": "a"}])
    head = header(IDS)
    for eighth in range(1, 8):
        cut = whole[: start + (len(whole) - start) * eighth // 8]
        yield Case(name=f"cut at {eighth}/8", content=cut, spec=AVRO_SPEC, rows=None, codes=CUT)
        yield Case(name=f"header cut at {eighth}/8", content=whole[: start * eighth // 8], rows=None, codes=CUT)
    schema = json.dumps(IDS).encode()
    for name, (content, codes) in {
        "last byte missing": (whole[:-1], CUT),
        "wrong marker": (head + block(1, one, SYNC[::-1]), DAMAGED),
        "wrong marker of the second block": (head + block(1, one) + block(1, one, SYNC[::-1]), DAMAGED),
        "negative rows": (head + block(-1, one), DAMAGED),
        "negative size": (head + varint(1) + varint(-2) + one + SYNC, DAMAGED),
        "size beyond 64 bits": (head + varint(1) + varint(2**64) + one + SYNC, DAMAGED),
        "size without end": (head + varint(1) + b"\xff" * 20, DAMAGED),
        "size of the file": (head + varint(1) + varint(2**27) + one + SYNC, CUT),
        "size of a terabyte": (head + varint(1) + varint(2**40) + one + SYNC, frozenset({"FILE_TOO_LARGE"})),
        "more rows than there are": (head + block(3, one * 2), DAMAGED),
        "rows of no bytes": (head + block(2**60, one), DAMAGED),
        "fewer rows than there are": (head + block(1, one * 2), DAMAGED),
        "bytes without rows": (head + block(0, one), DAMAGED),
        "garbage behind": (head + block(1, one) + b"garbage", CUT | DAMAGED),
        "NULs behind": (head + block(1, one) + bytes(100), DAMAGED),
        "unknown codec": (header(IDS, b"lzma"), frozenset({"UNKNOWN_FORMAT"})),
        "codec of bytes": (header(IDS, b"\xff\x00"), frozenset({"UNKNOWN_FORMAT"})),
        "deflate that is none": (header(IDS, b"deflate") + block(1, b"\xff" * 9), DAMAGED),
        "deflate that is cut": (header(IDS, b"deflate") + block(1, CODECS["deflate"](one)[:-1]), DAMAGED),
        "deflate and more": (header(IDS, b"deflate") + block(1, CODECS["deflate"](one) + b"x"), DAMAGED),
        "zstandard that is cut": (header(IDS, b"zstandard") + block(1, CODECS["zstandard"](one)[:-1]), DAMAGED),
        "zstandard of nothing": (header(IDS, b"zstandard") + block(1, b""), DAMAGED),
        "snappy with a wrong checksum": (header(IDS, b"snappy") + block(1, CODECS["snappy"](one)[:-1] + b"x"), DAMAGED),
        "snappy of nothing": (header(IDS, b"snappy") + block(1, b""), DAMAGED),
        "snappy that claims more": (header(IDS, b"snappy") + block(1, b"\x7f" + CODECS["snappy"](one)[1:]), DAMAGED),
        "metadata with a negative size": (MAGIC + varint(1) + varint(-5), DAMAGED),
        "metadata with a key twice": (MAGIC + varint(2) + 2 * (text(b"avro.schema") + text(schema)), DAMAGED),
        "metadata of a terabyte": (MAGIC + varint(1) + varint(2**40), frozenset({"BAD_HEADER"})),
        "no schema": (MAGIC + varint(0) + SYNC, DAMAGED),
    }.items():
        yield Case(name=name, content=content, spec=spec_of(), rows=None, codes=codes)


def values() -> Iterator[Case]:
    """Encodings of values that are none, in kept columns and in those that are read over."""
    kept, over = spec_of("c"), spec_of()
    lists = record(("user_id", "string"), ("c", {"type": "array", "items": "null"}))
    pairs = record(("user_id", "string"), ("c", {"type": "map", "values": "boolean"}))
    a = text(b"a")
    for name, (schema, content) in {
        "branch beyond the union": (TYPED, a + varint(2)),
        "negative branch": (TYPED, a + varint(-1)),
        "symbol beyond the enum": (TYPED, a + varint(1) + varint(2)),
        "negative symbol": (TYPED, a + varint(1) + varint(-1)),
        "boolean of 2": (record(("user_id", "string"), ("c", "boolean")), a + b"\x02"),
        "int of 33 bits": (record(("user_id", "string"), ("c", "int")), a + varint(2**31)),
        "long of 65 bits": (record(("user_id", "string"), ("c", "long")), a + varint(2**64)),
        "double that is cut": (record(("user_id", "string"), ("c", "double")), a + bytes(7)),
        "text that is cut": (record(("user_id", "string"), ("c", "string")), a + varint(2) + b"x"),
        "text of negative size": (record(("user_id", "string"), ("c", "string")), a + varint(-1) + b"x"),
        "fixed that is cut": (
            record(("user_id", "string"), ("c", {"type": "fixed", "name": "F", "size": 4})),
            a + b"abc",
        ),
        "list of negative size": (lists, a + varint(-1) + varint(-1)),
        "list that is larger than its block": (lists, a + varint(-1) + varint(2**40)),
        "list without end": (lists, a + varint(2**60)),
        "map that is cut": (pairs, a + varint(1) + text(b"k")),
    }.items():
        file = header(schema) + block(1, content)
        yield Case(name=f"{name}, kept", content=file, spec=kept, rows=None, codes=DAMAGED | {"BAD_COLUMN_TYPE"})
        yield Case(name=f"{name}, read over", content=file, spec=over, rows=None, codes=DAMAGED)
    deep = record(("user_id", "string"), ("c", NODE))
    for depth in (10, 100_000):
        nested = a + varint(1) * depth + varint(0) + varint(0) * (depth + 1)
        yield Case(
            name=f"nested {depth} times",
            content=header(deep) + block(1, nested),
            spec=over,
            rows=Outcome(rows=[(0, "a")]) if depth == 10 else None,
            codes=DAMAGED,
        )
    ids = record(("user_id", ["null", "bytes"]))
    odd = [b"a", None, b"", b"\xff", b"x\0", b"\xed\xa0\x80", b"b"]
    codes = ["id_missing", "id_empty", "invalid_utf8", "nul_byte", "invalid_utf8"]
    yield Case(
        name="ids that are none",
        content=avro(ids, [{"user_id": one} for one in odd]),
        spec=over,
        rows=Outcome(rows=[(0, "a"), (6, "b")], rejects=[(n, None, None, c) for n, c in enumerate(codes, start=1)]),
    )


def schemas() -> Iterator[Case]:
    """Schemas that are none, or hold too much."""
    itself = {
        "type": "record",
        "name": "A",
        "fields": [{"name": "user_id", "type": "string"}, {"name": "a", "type": "A"}],
    }
    deep: Any = "string"
    for _ in range(100):
        deep = {"type": "array", "items": deep}
    million = b'{"type":"record","name":"M","fields":[{"name":"user_id","type":"string"}%b]}' % b"".join(
        b',{"name":"c%d","type":"int"}' % n for n in range(1_000_000)
    )
    inside = (
        b'{"type":"record","name":"U","fields":[{"name":"user_id","type":"string"},{"name":"m","type":%b}]}' % million
    )
    for name, (schema, codes) in {
        "not JSON": (b"{", DAMAGED),
        "not UTF-8": (b'"\xff"', DAMAGED),
        "nested JSON": (b"[" * 100_000, DAMAGED),
        "no record": (b'"string"', frozenset({"BAD_HEADER"})),
        "a union": ([IDS], frozenset({"BAD_HEADER"})),
        "no fields": ({"type": "record", "name": "A"}, DAMAGED),
        "fields without names": ({"type": "record", "name": "A", "fields": [{"type": "int"}]}, DAMAGED),
        "fields without types": ({"type": "record", "name": "A", "fields": [{"name": "user_id"}]}, DAMAGED),
        "no name": ({"type": "record", "fields": []}, DAMAGED),
        "a name twice": (record(("user_id", "string"), ("user_id", "int")), DAMAGED),
        "a type twice": (record(("user_id", "string"), ("a", IDS), ("b", IDS)), DAMAGED),
        "an unknown type": (record(("user_id", "string"), ("a", "Else")), DAMAGED),
        "a union in a union": (record(("user_id", [["null"]])), DAMAGED),
        "an empty union": (record(("user_id", [])), DAMAGED),
        "an enum without symbols": (record(("user_id", {"type": "enum", "name": "E", "symbols": []})), DAMAGED),
        "a fixed of negative size": (record(("user_id", {"type": "fixed", "name": "F", "size": -1})), DAMAGED),
        "100 levels": (record(("user_id", "string"), ("deep", deep)), frozenset({"BAD_HEADER"})),
        "a million columns": (million, frozenset({"TOO_MANY_COLUMNS"})),
        "a million columns inside": (inside, frozenset({"TOO_MANY_COLUMNS"})),
        "no id": (record(("name", "string")), frozenset({"MISSING_COLUMN"})),
    }.items():
        yield Case(
            name=name, content=header(schema) + block(1, text(b"a")), spec=spec_of(), rows=None, codes=frozenset(codes)
        )
    yield Case(
        name="a record that is only itself",
        content=header(itself) + block(1, text(b"a") * 1000),
        spec=spec_of(),
        rows=None,
        codes=DAMAGED,
    )
    for name, type_ in {
        "list": {"type": "array", "items": "int"},
        "struct": {"type": "record", "name": "S", "fields": []},
        "map": {"type": "map", "values": "int"},
        "several types": ["null", "int", "string"],
        "time": {"type": "long", "logicalType": "time-micros"},
        "duration": {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"},
        "nothing but null": "null",
    }.items():
        for wanted in ("string", "long"):
            yield Case(
                name=f"{name} as {wanted}",
                content=header(record(("user_id", "string"), ("c", type_))),
                spec=spec_of(f"c:{wanted}"),
                rows=None,
                codes=frozenset({"BAD_COLUMN_TYPE"}),
            )


KINDS: Final[dict[str, Callable[[], Iterator[Case]]]] = {
    "sound": sound,
    "damaged": damaged,
    "values": values,
    "schemas": schemas,
}
