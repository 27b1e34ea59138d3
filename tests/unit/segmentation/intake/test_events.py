from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.activity import EVENT_ROWS, SOURCE_ORDINAL
from schemas.arrow import arrow_schema
from schemas.codec import CODEC
from schemas.columns import Column, RowSchema
from schemas.ids import Attempt, JobId, Partition, TenantName
from schemas.messages import EventRecord, ImportAborted, ProfileRecord
from schemas.partitioning import partition_of
from schemas.row_digest import digest_rows
from schemas.rows import encode_rows
from segmentation.intake.events import EventIntake, ingest_events
from segmentation.intake.topic_records import TopicRecord
from tests.examples import examples
from tests.unit.segmentation.intake.sending import (
    AT_US,
    HERE,
    NOON,
    NOON_US,
    USER,
    P,
    event_chunk,
    json_event,
    mapping,
    record,
)

AVRO = EventRecord(user_id=USER, event="order", occurred_at_us=AT_US, properties={"total": 1.5}, event_id="o-1")


def identities(*records: TopicRecord) -> list[int]:
    intake = ingest_events(records, P)
    assert (intake.refusals, intake.moves) == ((), ())
    return [int(i) for i in intake.rows.column("identity").to_pylist()]


def signed(word: int) -> int:
    return word - 2**64 if word >> 63 else word


def chained(*values: bytes) -> int:
    """XXH64 of each value, seeded with the previous hash: the oracle for identities."""
    word = 0
    for value in values:
        word = xxhash.xxh64_intdigest(value, word)
    return signed(word)


def refused(intake: EventIntake) -> str:
    assert (intake.rows.num_rows, len(intake.refusals)) == (0, 1)
    return str(intake.refusals[0])


def test_avro_and_json_records_make_equal_rows() -> None:
    as_json = json_event(properties={"total": 1.5}, event_id="o-1")
    intake = ingest_events([record(CODEC.encode(AVRO)), record(as_json, offset=8)], P)
    avro, json_ = intake.rows.drop_columns(["offset"]).to_pylist()
    assert avro == json_
    assert avro["user_id"] == "alice"


def test_identity_of_an_event_with_an_id_ignores_its_offset() -> None:
    with_id = event_chunk([{"event_id": "o-1"}])
    found = identities(
        record(json_event(event_id="o-1")),
        record(CODEC.encode(AVRO), offset=9),
        record(CODEC.encode(with_id), offset=10),
    )
    assert found == [chained(b"o-1")] * 3


def test_single_event_without_an_id_is_identified_by_its_offset() -> None:
    def at(topic: bytes, partition: int, offset: int) -> int:
        return chained(b"", topic, partition.to_bytes(8, "little"), offset.to_bytes(8, "little"))

    found = identities(record(json_event()), record(json_event(), offset=8), record(json_event(event_id="o"), offset=9))
    assert found == [at(b"muster.events", 1, 7), at(b"muster.events", 1, 8), chained(b"o")]


def test_chunk_row_without_an_id_is_identified_by_source_and_ordinal() -> None:
    rows: list[dict[str, Any]] = [{"_ordinal": 4}, {"_ordinal": 9}, {"_ordinal": 10, "event_id": "o-1"}]
    first = event_chunk(rows, source="file-1")
    again = replace(event_chunk(rows[1:], source="file-1"), attempt=Attempt(2), import_id=JobId("0" * 26))
    other = event_chunk(rows[1:2], source="file-2")
    found = identities(*(record(CODEC.encode(c), offset=n) for n, c in enumerate([first, again, other])))
    four, nine = (chained(b"", b"file-1", n.to_bytes(8, "little")) for n in (4, 9))
    assert found == [four, nine, chained(b"o-1"), nine, chained(b"o-1"), chained(b"", b"file-2", bytes([9] + [0] * 7))]


def test_rows_follow_offsets_across_chunks() -> None:
    chunk = event_chunk([{"total": 1.0, "coupon": "a"}, {"total": None, "coupon": None}, {"total": 3.0}])
    intake = ingest_events(
        [
            record(json_event(event="first"), offset=1),
            record(b"?", offset=2),
            record(CODEC.encode(chunk), offset=3),
            record(json_event(event="last"), offset=5),
        ],
        P,
    )
    assert intake.rows.schema.equals(EVENT_ROWS)
    intake.rows.validate(full=True)
    assert [(r["tenant"], r["event"], r["offset"], mapping(r["properties"])) for r in intake.rows.to_pylist()] == [
        ("default", "first", 1, {}),
        ("shop", "order", 3, {"total": 1.0, "coupon": "a"}),
        ("shop", "order", 3, {}),
        ("shop", "order", 3, {"total": 3.0}),
        ("default", "last", 5, {}),
    ]
    assert [(r.offset, r.code) for r in intake.refusals] == [(2, "undecodable")]


CHUNKS = [
    event_chunk([{"total": 1.5}, {"coupon": "X"}, {"_ordinal": 7}], source="a"),
    event_chunk([{"total": None, "event_id": "o-1"}, {}], source="b"),
    replace(event_chunk([{"total": 3.0}], source="a"), tenant=TenantName("shoes")),
    event_chunk([{"size": 9.0}], (Column(name="size", type="double"),), with_ids=False),
    event_chunk([{"total": float("inf")}, {}]),
    event_chunk([{}, {"user_id": "bob"}]),
    event_chunk([{"_ordinal": 3}, {"_ordinal": 2}]),
    event_chunk([{}], partition=2),
    event_chunk([]),
    replace(event_chunk([{}, {}]), count=3),
    replace(event_chunk([{}]), digest=event_chunk([{"total": 2.0}]).digest),
    replace(event_chunk([{}]), tenant=TenantName("no tenant")),
    replace(event_chunk([{}]), rows=b"no rows"),
]
"""Four good ones, an empty one, and others with a single fault each."""


@examples(200)
@given(st.lists(st.sampled_from(range(-1, len(CHUNKS))), max_size=6))
def test_batched_records_equal_single_records(given: list[int]) -> None:
    values = [json_event() if n < 0 else CODEC.encode(CHUNKS[n]) for n in given]
    records = [replace(record(v, offset=n), received_at_us=NOON_US + n) for n, v in enumerate(values)]
    each = [ingest_events([one], P) for one in records]
    together = ingest_events(records, P)
    assert together.rows.to_pylist() == [row for one in each for row in one.rows.to_pylist()]
    assert together.refusals == tuple(refusal for one in each for refusal in one.refusals)


def test_chunk_row_carries_its_source_and_ordinal() -> None:
    chunk = event_chunk([{"_ordinal": 4}, {"_ordinal": 9, "event_id": "o-1"}], source="file-1")
    rows = ingest_events([record(json_event(), offset=1), record(CODEC.encode(chunk), offset=2)], P).rows
    assert rows.column("source").to_pylist() == [None, "file-1", "file-1"]
    assert rows.column("ordinal").to_pylist() == [None, 4, 9]


def test_empty_batch_makes_no_rows() -> None:
    intake = ingest_events([], P)
    assert (intake.rows.num_rows, intake.rows.schema.equals(EVENT_ROWS), intake.moves) == (0, True, ())
    assert ingest_events([record(CODEC.encode(event_chunk([])))], P).rows.num_rows == 0


# Producers with another partitioner.


def test_misplaced_event_is_forwarded_once_with_its_origin() -> None:
    value = json_event(user_id="bob", properties={"total": 2, "gift": True}, tenant="shop")
    intake = ingest_events([record(json_event(), offset=6), record(value, offset=7, key=b"bob")], P)
    assert (intake.rows.column("user_id").to_pylist(), intake.refusals) == (["alice"], ())
    [move] = intake.moves
    assert (move.offset, move.partition, move.key) == (7, 2, b"bob")
    assert CODEC.decode(move.value) == EventRecord(
        user_id="bob",
        event="order",
        occurred_at_us=AT_US,
        properties={"total": 2.0, "gift": True},
        event_id="muster.events/1/7",
        tenant=TenantName("shop"),
    )


def test_event_forwarded_twice_counts_once() -> None:
    [move] = ingest_events([record(json_event(user_id="bob"))], P).moves
    arrived = [record(move.value, key=move.key, partition=move.partition, offset=n) for n in (100, 200)]
    intake = ingest_events(arrived, P)
    assert intake.moves == ()
    assert intake.rows.num_rows == 2
    assert len(set(intake.rows.column("identity").to_pylist())) == 1


def test_forwarded_event_keeps_its_id() -> None:
    [move] = ingest_events([record(json_event(user_id="bob", event_id="o-1"))], P).moves
    sent_on = CODEC.decode(move.value)
    assert isinstance(sent_on, EventRecord)
    assert sent_on.event_id == "o-1"


def test_event_too_large_to_forward_is_refused() -> None:
    numbers = {f"n{n}": n % 10 for n in range(200)}
    texts = {f"t{n}": "x" * (8192 if n < 31 else 5600) for n in range(32)}
    value = json_event(user_id="bob", properties={**numbers, **texts})
    assert len(value) <= 262_144
    assert refused(ingest_events([record(value)], P)) == (
        "wrong_partition: the user belongs to partition 2, but encoded as Avro the record is too large to be sent there"
    )


def test_invalid_event_is_not_forwarded() -> None:
    intake = ingest_events([record(json_event(user_id="bob", occurred_at="1969-01-01T00:00:00Z"))], P)
    assert refused(intake).startswith("too_early")
    assert intake.moves == ()


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=5), st.integers(0, 3)), max_size=20))
def test_every_record_has_one_outcome_in_its_own_partition(users: list[tuple[str, int]]) -> None:
    for partition in range(P):
        sent = [
            record(json_event(user_id=user), offset=n, partition=p)
            for n, (user, p) in enumerate(users)
            if p == partition
        ]
        intake = ingest_events(sent, P)
        ends = [*intake.rows.column("offset").to_pylist(), *(m.offset for m in intake.moves)]
        ends += [r.offset for r in intake.refusals]
        assert sorted(ends) == [r.offset for r in sent]
        assert all(partition_of(user, P) == partition for user in intake.rows.column("user_id").to_pylist())
        assert all(partition_of(m.key.decode(), P) == m.partition != partition for m in intake.moves)


# Chunks that contradict themselves, or have what no record may have.


def chunk_refusal(rows: list[dict[str, Any]], *properties: Column) -> str:
    chunk = event_chunk(rows, properties) if properties else event_chunk(rows)
    return refused(ingest_events([record(CODEC.encode(chunk))], P))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"user_id": ""}, "bad_user_id: row 1: the user id has 0 characters"),
        ({"user_id": "é" * 192}, "bad_user_id: row 1: the user id has 192 characters"),
        ({"user_id": "x" * 192}, "bad_user_id: row 1: the user id has 192 characters"),
        ({"user_id": "\u3000"}, "bad_user_id: row 1: the user id is only white space"),
        ({"user_id": "a\0b"}, "bad_user_id: row 1: the user id has a NUL character"),
        ({"user_id": "bob"}, "wrong_partition: row 1: the user belongs to partition 2"),
        ({"event": " "}, "bad_event: row 1: the name of the event is only white space"),
        ({"event_id": ""}, "bad_event_id: row 1: the event id has 0 characters"),
        ({"occurred_at": NOON.replace(year=1969)}, "too_early: row 1: it occurred at 1969-11-25T12:00:00Z"),
        ({"occurred_at": NOON.replace(year=2286)}, "too_far_ahead: row 1: it occurred at 2286-11-25T12:00:00Z"),
        ({"total": float("nan")}, "bad_property: row 1: the property 'total' is nan"),
        ({"total": float("-inf")}, "bad_property: row 1: the property 'total' is -inf"),
        ({"coupon": "x" * 8193}, "bad_property: row 1: the property 'coupon' has 8193 bytes"),
        ({"coupon": "x\0"}, "bad_property: row 1: the property 'coupon' has a NUL character"),
    ],
)
def test_bad_row_refuses_its_chunk_and_is_named(row: dict[str, Any], why: str) -> None:
    assert chunk_refusal([{}, row, {}]).startswith(why)


def test_the_first_of_several_bad_rows_is_named() -> None:
    assert chunk_refusal([{}, {"coupon": "\0"}, {"event": ""}]).startswith("bad_property: row 1: ")


def test_event_id_in_a_chunk_is_not_a_property() -> None:
    rows = ingest_events([record(CODEC.encode(event_chunk([{"event_id": "o-1", "total": 1.0}])))], P).rows
    assert rows.column("event_id").to_pylist() == ["o-1"]
    assert mapping(rows.column("properties")[0].as_py()) == {"total": 1.0}


def test_names_in_other_scripts_are_accepted() -> None:
    rows: list[dict[str, Any]] = [{"event": "購入", "coupon": "é" * 4096}, {"event": "閲覧"}]
    assert ingest_events([record(CODEC.encode(event_chunk(rows)))], P).rows.column("event").to_pylist() == [
        "購入",
        "閲覧",
    ]


def test_chunk_with_other_columns_is_refused() -> None:
    assert chunk_refusal([{"n": 1}], Column(name="n", type="long")) == (
        "broken_chunk: the column n is long; rules on events compare double, string, boolean"
    )
    many = tuple(Column(name=f"p{n}", type="boolean") for n in range(257))
    assert chunk_refusal([{}], *many) == "too_many_properties: 260 columns; at most 256 are allowed"
    schema = RowSchema(columns=(Column(name="event"),))
    batch = pa.RecordBatch.from_pylist([{"_ordinal": 0, "user_id": USER}], schema=arrow_schema(schema, ordinal=True))
    chunk = replace(event_chunk([{}]), rows=encode_rows(batch), digest=digest_rows(batch, schema))
    assert refused(ingest_events([record(CODEC.encode(chunk))], P)) == (
        "broken_chunk: the columns after user_id must begin with event:string and occurred_at:timestamp"
    )


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ("user_id", "bad_user_id: row 1: user_id is missing"),
        ("event", "bad_event: row 1: event is missing"),
        ("occurred_at", "bad_time: row 1: occurred_at is missing"),
    ],
)
def test_chunk_with_nulls_in_a_required_column_is_refused(missing: str, why: str) -> None:
    assert chunk_refusal([{}, {missing: None}]) == why


@pytest.mark.parametrize("ordinals", [[3, 3], [4, 3], [3, None]])
def test_chunk_with_unordered_ordinals_is_refused(ordinals: list[int | None]) -> None:
    why = chunk_refusal([{"_ordinal": ordinal} for ordinal in ordinals])
    assert why == "broken_chunk: _ordinal does not increase from row to row"


@given(st.binary(max_size=60))
def test_arbitrary_bytes_have_one_outcome(value: bytes) -> None:
    for start in (b"", b"{", CODEC.encode(AVRO)[:10], CODEC.encode(event_chunk([{}]))[:10]):
        intake = ingest_events([record(start + value)], P)
        assert intake.rows.num_rows + len(intake.moves) + len(intake.refusals) == 1


@given(st.integers(0, 2**30), st.integers(1, 255))
@example(at=3255, flip=129)  # a byte of an ordinal
def test_chunk_with_a_flipped_byte_is_refused_or_unchanged(at: int, flip: int) -> None:
    chunk = event_chunk([{"total": 1.5, "coupon": "X", "event_id": "o-1"}, {"event_id": "o-2"}])
    rows = bytearray(chunk.rows)
    rows[at % len(rows)] ^= flip
    whole, damaged = (
        ingest_events([record(CODEC.encode(replace(chunk, rows=given)))], P) for given in (chunk.rows, bytes(rows))
    )
    # Ordinals are part of neither the digest nor events with ids.
    said, meant = (taken.rows.drop_columns([SOURCE_ORDINAL]) for taken in (damaged, whole))
    assert damaged.refusals or said.equals(meant)


def test_chunk_with_duplicate_column_names_is_refused() -> None:
    chunk = event_chunk([{}], (Column(name="total", type="double"), Column(name="tofal", type="double")))
    doubled = chunk.rows.replace(b"tofal", b"total")
    (refusal,) = ingest_events([record(CODEC.encode(replace(chunk, rows=doubled)))], P).refusals
    assert "two columns of the rows have the same name" in str(refusal)


def test_chunk_without_ids_is_accepted() -> None:
    without = ingest_events([record(CODEC.encode(event_chunk([{"total": 1.0}], with_ids=False)))], P).rows
    with_none = ingest_events([record(CODEC.encode(event_chunk([{"total": 1.0}])))], P).rows
    assert without.equals(with_none)
    assert mapping(without.column("properties")[0].as_py()) == {"total": 1.0}


def test_chunk_with_wrong_counts_is_refused() -> None:
    chunk = event_chunk([{}, {}])

    def why(**changes: Any) -> str:
        return refused(ingest_events([record(CODEC.encode(replace(chunk, **changes)))], P))

    assert why(count=3) == "broken_chunk: 2 rows, but the chunk declares 3"
    assert why(digest=event_chunk([{}]).digest).startswith("broken_chunk: digest ")
    assert why(rows=chunk.rows[:200]).startswith("broken_chunk: ")
    assert why(rows=b"").startswith("broken_chunk: ")
    assert why(rows=chunk.rows + chunk.rows).startswith("broken_chunk: ArrowInvalid: the rows are 1 batches, or more")
    assert why(source="") == "broken_chunk: the source has 0 characters; 1 to 4096 are allowed"
    assert why(source="é" * 4097) == "broken_chunk: the source has 4097 characters; 1 to 4096 are allowed"
    assert why(tenant="") == "bad_tenant: '' is not a valid tenant name"
    assert why(partition=Partition(2)) == "wrong_partition: a chunk for partition 2 in partition 1"


@pytest.mark.parametrize(
    "message",
    [
        ImportAborted(import_id=JobId("0" * 26), attempt=Attempt(1), partition=HERE, reason="x"),
        ProfileRecord(user_id=USER),
    ],
)
def test_messages_of_other_topics_are_refused(message: ImportAborted | ProfileRecord) -> None:
    why = refused(ingest_events([record(CODEC.encode(message))], P))
    assert why == f"undecodable: a {type(message).__name__} does not belong in muster.events"


def test_avro_records_obey_the_limits_of_json() -> None:
    def why(**changes: Any) -> str:
        return refused(ingest_events([record(CODEC.encode(replace(AVRO, **changes)))], P))

    assert why(user_id="") == "bad_user_id: the user id has 0 characters; 1 to 191 are allowed"
    assert why(occurred_at_us=-1).startswith("too_early: it occurred at 1969-12-31T23:59:59.999999Z")
    assert why(properties={"total": float("nan")}) == "bad_property: the property 'total' is nan, not a number"
    assert why(properties={f"p{n}": "x" * 8192 for n in range(33)}).startswith("too_large: ")


def test_refused_record_becomes_a_dead_letter_unchanged() -> None:
    sent = record(b"?", key=b"alice", offset=12)
    [refusal] = ingest_events([sent], P).refusals
    letter = sent.dead_letter(refusal, NOON_US)
    assert (letter.topic, letter.partition, letter.offset) == ("muster.events", 1, 12)
    assert (letter.key, letter.value, letter.failed_at_us) == (b"alice", b"?", NOON_US)
    assert letter.reason.startswith("undecodable: the record in muster.events begins neither with C3 01")
