from datetime import date

import pytest

from schemas.activity import PROFILE_ROWS
from schemas.codec import CODEC
from schemas.columns import Column
from schemas.messages import EventRecord, ProfileRecord
from segmentation.intake.profiles import ingest_profiles
from tests.unit.segmentation.intake.sending import AT_US, P, mapping, profile_chunk, profile_record


def test_changes_apply_in_order_and_null_unsets() -> None:
    chunk = profile_chunk(
        [{"age": 31.0, "vip": True}, {"age": None, "vip": False}],
        Column(name="age", type="double"),
        Column(name="vip", type="boolean"),
    )
    records = [
        profile_record(b'{"user_id": "alice", "attributes": {"age": 30, "plan": "gold"}}', offset=1, key=b"alice"),
        profile_record(CODEC.encode(ProfileRecord(user_id="alice", attributes={"plan": None})), offset=2),
        profile_record(CODEC.encode(chunk), offset=3),
        profile_record(None, key=b"alice", offset=4),
        profile_record(b'{"user_id": "alice", "deleted": true, "tenant": "shop"}', offset=5),
    ]
    intake = ingest_profiles(records, P)
    assert intake.refusals == ()
    assert intake.rows.schema.equals(PROFILE_ROWS)
    intake.rows.validate(full=True)
    found = intake.rows.to_pylist()
    assert {(r["user_id"], r["received_at"].isoformat()) for r in found} == {("alice", "2026-11-25T12:00:00+00:00")}
    assert [(r["tenant"], r["offset"], r["deleted"], mapping(r["attributes"])) for r in found] == [
        ("default", 1, False, {"age": 30.0, "plan": "gold"}),
        ("default", 2, False, {"plan": None}),
        ("shop", 3, False, {"age": 31.0, "vip": True}),
        ("shop", 3, False, {"age": None, "vip": False}),
        ("default", 4, True, {}),
        ("shop", 5, True, {}),
    ]


def test_change_in_the_wrong_partition_is_refused_to_keep_order() -> None:
    records = [
        profile_record(b'{"user_id": "bob", "attributes": {"age": 1}}', offset=1),
        profile_record(b"?", offset=2),
        profile_record(b'{"user_id": "alice", "attributes": {"age": 1}}', offset=3),
        profile_record(None, key=b"bob", offset=4),
    ]
    intake = ingest_profiles(records, P)
    assert intake.rows.column("offset").to_pylist() == [3]
    assert [(r.offset, r.code) for r in intake.refusals] == [
        (1, "wrong_partition"),
        (2, "undecodable"),
        (4, "wrong_partition"),
    ]
    assert intake.refusals[0].reason == (
        "the user belongs to partition 2, not 1: the producer must partition by murmur2 of the key (librdkafka: "
        "partitioner=murmur2_random)"
    )


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (None, "no_value: a record has neither key nor value"),
        (b"\xff", "bad_user_id: the key is not the user id in UTF-8"),
        (b"", "bad_user_id: the user id has 0 characters; 1 to 191 are allowed"),
    ],
)
def test_tombstone_requires_the_user_as_key(key: bytes | None, why: str) -> None:
    [refusal] = ingest_profiles([profile_record(None, key=key)], P).refusals
    assert str(refusal) == why


def test_chunk_row_carries_its_source_and_ordinal() -> None:
    chunk = profile_chunk([{"_ordinal": 4}, {"_ordinal": 9}])
    rows = ingest_profiles(
        [profile_record(b'{"user_id": "alice"}', offset=1), profile_record(CODEC.encode(chunk), offset=2)], P
    ).rows
    assert rows.column("source").to_pylist() == [None, "crm-1", "crm-1"]
    assert rows.column("ordinal").to_pylist() == [None, 4, 9]


def test_a_chunk_with_a_bad_value_is_refused() -> None:
    chunk = profile_chunk([{"age": 1.0}, {"age": float("inf")}], Column(name="age", type="double"))
    [refusal] = ingest_profiles([profile_record(CODEC.encode(chunk))], P).refusals
    assert str(refusal) == "bad_property: row 1: the property 'age' is inf, not a number"


def test_chunk_attributes_accept_dates_and_any_name() -> None:
    chunk = profile_chunk(
        [{"event": None, "occurred_at": date(1969, 7, 20), "event_id": ""}],
        Column(name="event"),
        Column(name="occurred_at", type="date"),
        Column(name="event_id"),
    )
    intake = ingest_profiles([profile_record(CODEC.encode(chunk))], P)
    assert intake.refusals == ()
    assert mapping(intake.rows.column("attributes")[0].as_py()) == {
        "event": None,
        "occurred_at": date(1969, 7, 20),
        "event_id": "",
    }


def test_event_is_not_a_profile_change() -> None:
    event = EventRecord(user_id="alice", event="order", occurred_at_us=AT_US)
    [refusal] = ingest_profiles([profile_record(CODEC.encode(event))], P).refusals
    assert str(refusal) == "undecodable: a EventRecord does not belong in muster.profiles"


def test_empty_batch_makes_no_changes() -> None:
    assert ingest_profiles([], P).rows.schema.equals(PROFILE_ROWS)


def test_chunk_row_can_forget_all_attributes() -> None:
    chunk = profile_chunk(
        [{"deleted": None, "age": 31.0}, {"deleted": True, "age": None}, {"deleted": False, "age": None}],
        Column(name="deleted", type="boolean"),
        Column(name="age", type="double"),
    )
    intake = ingest_profiles([profile_record(CODEC.encode(chunk), offset=3)], P)
    assert intake.refusals == ()
    assert [(row["deleted"], mapping(row["attributes"])) for row in intake.rows.to_pylist()] == [
        (False, {"age": 31.0}),
        (True, {}),
        (False, {"age": None}),
    ]


@pytest.mark.parametrize(
    ("rows", "columns", "reason"),
    [
        (
            [{"deleted": True, "age": 31.0}],
            (Column(name="deleted", type="boolean"), Column(name="age", type="double")),
            "row 0: a deleted profile cannot have attributes in the same row",
        ),
        ([{"deleted": "yes"}], (Column(name="deleted"),), "deleted must be a boolean"),
        (
            [{"age": 31.0, "deleted": True}],
            (Column(name="age", type="double"), Column(name="deleted", type="boolean")),
            "the first column behind user_id",
        ),
    ],
)
def test_chunk_with_an_ambiguous_deletion_is_refused(
    rows: list[dict[str, object]], columns: tuple[Column, ...], reason: str
) -> None:
    (refusal,) = ingest_profiles([profile_record(CODEC.encode(profile_chunk(rows, *columns)), offset=3)], P).refusals
    assert reason in refusal.reason
