import io
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields
from datetime import UTC
from typing import Any, get_args

import pyarrow as pa
import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from schemas.arrow import ARROW_TYPES, arrow_schema
from schemas.codec import CODEC, Codec, UndecodableError, load_schemas
from schemas.columns import Column, ImportMode, RowSchema
from schemas.digest import Digest
from schemas.ids import Attempt, JobId, Partition, Seq, Version
from schemas.manifest import Change
from schemas.messages import (
    AttributeValue,
    EventRecord,
    ImportAborted,
    JobState,
    Message,
    PartitionMaterialised,
    ProfileRecord,
    PropertyValue,
    UserChunk,
)
from schemas.row_digest import digest_rows
from schemas.rows import chunk_fault, decode_rows, encode_rows
from tests.examples import examples

SCHEMAS = load_schemas()
MESSAGE_TYPES = get_args(Message)
ABORTED = ImportAborted(
    import_id=JobId("01jd0000000000000000000000"), attempt=Attempt(3), partition=Partition(5), reason="cancelled"
)


def rabin(data: bytes) -> int:
    """CRC-64-AVRO, after the Java code in the Avro specification ("Schema Fingerprints")."""
    empty = 0xC15D213AA4D7A795
    table = []
    for i in range(256):
        fp = i
        for _ in range(8):
            fp = (fp >> 1) ^ (empty & -(fp & 1) & (2**64 - 1))
        table.append(fp)
    fp = empty
    for byte in data:
        fp = (fp >> 8) ^ table[(fp ^ byte) & 0xFF]
    return fp


def canonical(schema: Any, namespace: str = "") -> Any:
    """Parsing Canonical Form of the few schema shapes that we use, after the Avro specification."""
    if isinstance(schema, list):
        return [canonical(branch, namespace) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if schema["type"] == "array":
        return {"type": "array", "items": canonical(schema["items"], namespace)}
    if schema["type"] == "map":
        return {"type": "map", "values": canonical(schema["values"], namespace)}
    assert schema["type"] == "record"
    namespace = schema.get("namespace", namespace)
    return {
        "name": f"{namespace}.{schema['name']}",
        "type": "record",
        "fields": [{"name": f["name"], "type": canonical(f["type"], namespace)} for f in schema["fields"]],
    }


def header(schema: dict[str, Any]) -> bytes:
    text = json.dumps(canonical(schema), separators=(",", ":"), ensure_ascii=False)
    return b"\xc3\x01" + rabin(text.encode()).to_bytes(8, "little")


def written(schema: dict[str, Any], record: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    out.write(header(schema))
    schemaless_writer(out, parse_schema(deepcopy(schema)), record)
    return out.getvalue()


def changed(name: str, *, without: str | None = None, added: dict[str, Any] | None = None) -> dict[str, Any]:
    schema = deepcopy(SCHEMAS[name])
    schema["fields"] = [f for f in schema["fields"] if f["name"] != without] + ([added] if added else [])
    return schema


# Strategies, one for each type that a field may have.
texts = st.text(st.characters(codec="utf-8"), max_size=30)
ints = st.integers(-(2**31), 2**31 - 1)
digests = st.builds(
    Digest,
    schema_id=st.text("0123456789abcdef", min_size=16, max_size=16),
    count=st.integers(0, 2**40),
    sum0=st.integers(0, 2**64 - 1),
    sum1=st.integers(0, 2**64 - 1),
)
columns = st.builds(
    Column, name=st.from_regex(r"c[A-Za-z0-9_]{0,20}", fullmatch=True), type=st.sampled_from([*ARROW_TYPES])
)
row_schemas = st.builds(RowSchema, columns=st.lists(columns, max_size=4).map(tuple))
BY_TYPE: dict[object, st.SearchStrategy[Any]] = {
    Digest: digests,
    RowSchema: row_schemas,
    str: texts,
    int: ints,
    bytes: st.binary(max_size=50),
    str | None: st.none() | texts,
    int | None: st.none() | ints,
    bytes | None: st.none() | st.binary(max_size=20),
    Version | None: st.none() | ints,
    Change | None: st.none() | st.sampled_from(get_args(Change)),
    tuple[int, ...]: st.lists(ints, max_size=5).map(tuple),
    tuple[str, ...]: st.lists(texts, max_size=3).map(tuple),
    ImportMode: st.sampled_from(get_args(ImportMode)),
    JobState: st.sampled_from(get_args(JobState)),
    bool: st.booleans(),
    JobId | None: st.none() | texts,
    Attempt | None: st.none() | ints,
    Mapping[str, PropertyValue | None]: st.dictionaries(
        texts, st.none() | st.floats(allow_nan=False) | texts | st.booleans(), max_size=4
    ),
    Mapping[str, AttributeValue | None]: st.dictionaries(
        texts, st.none() | st.booleans() | st.dates() | st.datetimes(timezones=st.just(UTC)), max_size=4
    ),
}


def field_values(type_: Any) -> st.SearchStrategy[Any]:
    type_ = getattr(type_, "__supertype__", type_)  # a NewType stands for its plain type
    if type_ in BY_TYPE:
        return BY_TYPE[type_]
    return st.sampled_from(get_args(type_))  # a Literal


def messages_of(message_type: type[Message]) -> st.SearchStrategy[Message]:
    return st.builds(message_type, **{f.name: field_values(f.type) for f in fields(message_type)})


messages = st.one_of([messages_of(message_type) for message_type in MESSAGE_TYPES])


def test_fingerprint_of_int_matches_the_published_value() -> None:
    assert rabin(b'"int"') == 0x7275D51A3F395C8F


@given(messages)
def test_a_message_starts_with_the_marker_and_the_fingerprint_of_its_schema(message: Message) -> None:
    assert CODEC.encode(message)[:10] == header(SCHEMAS[type(message).__name__])


@examples(300)
@given(messages)
def test_every_message_round_trips(message: Message) -> None:
    assert CODEC.decode(CODEC.encode(message)) == message


@pytest.mark.parametrize("message_type", MESSAGE_TYPES, ids=lambda t: t.__name__)
def test_the_schema_has_the_fields_of_the_dataclass_in_order(message_type: type[Message]) -> None:
    schema = SCHEMAS[message_type.__name__]
    assert [f["name"] for f in schema["fields"]] == [f.name for f in fields(message_type)]
    assert (schema["type"], schema["namespace"]) == ("record", "muster")


@pytest.mark.parametrize("message_type", MESSAGE_TYPES, ids=lambda t: t.__name__)
def test_a_field_is_nullable_in_the_schema_exactly_when_it_is_in_the_dataclass(message_type: type[Message]) -> None:
    nullable = {f["name"] for f in SCHEMAS[message_type.__name__]["fields"] if isinstance(f["type"], list)}
    assert nullable == {f.name for f in fields(message_type) if type(None) in get_args(f.type)}


def test_every_schema_file_is_a_message_and_every_message_has_one() -> None:
    assert {t.__name__ for t in MESSAGE_TYPES} == set(SCHEMAS)


def test_properties_keep_their_types() -> None:
    given: dict[str, PropertyValue | None] = {"n": 1.0, "t": "1", "b": True, "none": None}
    back = CODEC.decode(CODEC.encode(EventRecord(user_id="u", event="e", occurred_at_us=-1, properties=given)))
    assert isinstance(back, EventRecord)
    assert [(name, type(value)) for name, value in back.properties.items()] == [
        ("n", float),
        ("t", str),
        ("b", bool),
        ("none", type(None)),
    ]


def test_producer_record_has_fixed_bytes() -> None:
    event = EventRecord(
        user_id="alice", event="order", occurred_at_us=1_700_000_000_000_000, properties={"paid": True}, event_id="o-1"
    )
    assert CODEC.encode(event) == (
        b"\xc3\x01" + bytes.fromhex("0e028d04ed82336d") + b"\x0aalice\x0aorder" + bytes.fromhex("8080f28183898506")
        + b"\x02\x08paid\x06\x01\x00" + b"\x02\x06o-1" + b"\x0edefault"
    )  # fmt: skip
    profile = ProfileRecord(user_id="alice", attributes={"age": 30.0, "plan": None})
    body = (
        b"\x0aalice" + b"\x04\x06age\x02" + bytes.fromhex("0000000000003e40") + b"\x08plan\x00\x00" + b"\x00"
        + b"\x0edefault"
    )  # fmt: skip
    without_dates = bytes.fromhex("08e6122d3deb3c7f")
    assert CODEC.encode(profile) == b"\xc3\x01" + bytes.fromhex("165e53a3766f24c5") + body
    assert CODEC.decode(b"\xc3\x01" + without_dates + body) == profile


RECORD = {
    "import_id": "01jd0000000000000000000000",
    "attempt": 1,
    "partition": 0,
    "partitions": 8,
    "chunks": 2,
    "records": 7000,
    "digest": "a3587de89cabb13b:7000:0000000000000001:0000000000000002",
    "distinct": 6999,
    "distinct_digest": "a3587de89cabb13b:6999:0000000000000001:0000000000000002",
    "part_bytes": 12,
}


def test_older_schema_is_read_with_field_defaults() -> None:
    older = changed("PartitionMaterialised", without="part")
    message = Codec(SCHEMAS, (older,)).decode(written(older, RECORD))
    assert isinstance(message, PartitionMaterialised)
    assert (message.records, message.part, message.part_bytes) == (7000, None, 12)


def test_newer_schema_is_read_without_added_fields() -> None:
    newer = changed("PartitionMaterialised", added={"name": "zone", "type": ["null", "string"], "default": None})
    message = Codec(SCHEMAS, (newer,)).decode(written(newer, {**RECORD, "part": "s3://lake/p", "zone": "a"}))
    assert isinstance(message, PartitionMaterialised)
    assert (message.part, message.distinct) == ("s3://lake/p", 6999)


def test_message_with_an_unknown_schema_is_undecodable() -> None:
    older = changed("PartitionMaterialised", without="part")
    with pytest.raises(UndecodableError, match="unknown schema fingerprint"):
        CODEC.decode(written(older, RECORD))


def test_kept_older_schemas_are_readable() -> None:
    for schema in load_schemas("avro/history").values():
        assert header(schema) in CODEC._readers


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "not Avro single-object"),
        (b"", "not Avro single-object"),
        (b"\xc3", "not Avro single-object"),
        (b'{"user_id": 1}', "not Avro single-object"),
        (b"\xc3\x01", "unknown schema fingerprint"),
        (b"\xc3\x01" + bytes(8) + b"abc", "unknown schema fingerprint 0000000000000000"),
        (header(SCHEMAS["ImportAborted"]), "broken ImportAborted"),
        (CODEC.encode(ABORTED)[:-3], "broken ImportAborted"),
        (CODEC.encode(ABORTED) + b"\x00", "bytes after the end"),
        (header(SCHEMAS["ImportAborted"]) + b"\xff" * 40, "broken ImportAborted"),
    ],
)
def test_malformed_bytes_are_refused_with_the_reason(data: bytes | None, why: str) -> None:
    with pytest.raises(UndecodableError, match=why):
        CODEC.decode(data)


def test_malformed_digest_makes_a_message_undecodable() -> None:
    record = {**RECORD, "part": None, "digest": "not a digest"}
    with pytest.raises(UndecodableError, match="broken PartitionMaterialised: ValueError"):
        CODEC.decode(written(SCHEMAS["PartitionMaterialised"], record))


ROWS_SCHEMA = RowSchema(columns=(Column(name="age", type="long"),))
ROWS = pa.RecordBatch.from_pylist(
    [{"_ordinal": 4, "user_id": "alice", "age": 42}, {"_ordinal": 9, "user_id": "bob", "age": None}],
    schema=arrow_schema(ROWS_SCHEMA, ordinal=True),
)


def chunk(count: int, digest: str) -> UserChunk:
    return UserChunk(
        import_id=JobId("0" * 26),
        attempt=Attempt(1),
        partition=Partition(0),
        seq=Seq(0),
        count=count,
        digest=Digest.parse(digest),
        rows=encode_rows(ROWS),
    )


def test_rows_of_a_batch_slice_round_trip() -> None:
    assert decode_rows(encode_rows(ROWS.slice(1, 1))).to_pylist() == [{"_ordinal": 9, "user_id": "bob", "age": None}]


def test_broken_rows_raise() -> None:
    with pytest.raises((pa.ArrowInvalid, OSError)):
        decode_rows(encode_rows(ROWS)[:100])


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_rows_are_refused_without_reading(compression: str) -> None:
    rows = pa.RecordBatch.from_pylist([{"_ordinal": 0, "user_id": "a" * 10_000_000}])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_batch(rows)
    before = pa.total_allocated_bytes()
    with pytest.raises(pa.ArrowInvalid, match="the rows are compressed"):
        decode_rows(sink.getvalue().to_pybytes())
    assert pa.total_allocated_bytes() - before < 1_000_000


def test_trailing_rows_are_refused() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, ROWS.schema) as writer:
        writer.write_batch(ROWS)
        writer.write_batch(ROWS)
    for data in (sink.getvalue().to_pybytes(), encode_rows(ROWS) * 2, encode_rows(ROWS) + b"more"):
        with pytest.raises(pa.ArrowInvalid, match="a chunk has one batch"):
            decode_rows(data)


def test_dictionary_encoded_rows_are_refused() -> None:
    rows = pa.record_batch({"user_id": pa.array(["a", "a"]).dictionary_encode()})
    with pytest.raises(pa.ArrowInvalid, match="or dictionary-encoded"):
        decode_rows(encode_rows(rows))


def test_chunk_is_checked_against_its_count_and_digest() -> None:
    true = str(digest_rows(ROWS, ROWS_SCHEMA))
    assert chunk_fault(chunk(2, true), ROWS, ROWS_SCHEMA) is None
    assert chunk_fault(chunk(3, true), ROWS, ROWS_SCHEMA) == "2 rows, but the chunk declares 3"
    wrong = chunk_fault(chunk(2, "0e5451e8f5412cf3:2:0000000000000001:0000000000000002"), ROWS, ROWS_SCHEMA)
    assert wrong is not None
    assert wrong.startswith("digest 0e5451e8f5412cf3:2:")
    other = chunk_fault(chunk(2, true), ROWS, RowSchema())
    assert other == "columns are ['_ordinal', 'user_id', 'age'], not ['_ordinal', 'user_id']"
