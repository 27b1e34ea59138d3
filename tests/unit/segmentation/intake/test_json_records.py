import json
from typing import Any

import pytest

from schemas.activity import MAX_PROPERTIES, PROPERTY_MAX_BYTES
from segmentation.intake.events import EventIntake, ingest_events
from segmentation.intake.profiles import ingest_profiles
from tests.unit.segmentation.intake.sending import (
    AT,
    AT_US,
    NOON_US,
    USER,
    P,
    json_event,
    mapping,
    profile_record,
    record,
)

DAY_US = 24 * 60 * 60 * 1_000_000
MAX_PLAIN = "x" * PROPERTY_MAX_BYTES


def taken(value: bytes, **given: Any) -> EventIntake:
    return ingest_events([record(value, **given)], P)


def refusal(value: bytes, **given: Any) -> str:
    intake = taken(value, **given)
    assert (intake.rows.num_rows, intake.moves) == (0, ())
    return str(intake.refusals[0])


def properties(**given: Any) -> dict[str, Any]:
    intake = taken(json_event(properties=given))
    assert intake.refusals == ()
    return mapping(intake.rows.column("properties")[0].as_py())


def occurred_at_us(value: object) -> int:
    intake = taken(json_event(occurred_at=value))
    assert intake.refusals == ()
    return int(intake.rows.column("occurred_at")[0].value)


def test_an_event_becomes_a_row() -> None:
    value = json_event(properties={"total": 12, "coupon": "X1", "gift": True, "note": None}, event_id="o-1")
    [row] = taken(value, key=b"alice").rows.to_pylist()
    assert (row["user_id"], row["event"], row["event_id"], row["offset"]) == ("alice", "order", "o-1", 7)
    assert row["occurred_at"].isoformat() == "2026-11-25T11:59:00+00:00"
    assert row["received_at"].isoformat() == "2026-11-25T12:00:00+00:00"
    assert mapping(row["properties"]) == {"total": 12.0, "coupon": "X1", "gift": True}


@pytest.mark.parametrize(("given", "tenant"), [(..., "default"), (None, "default"), ("shop", "shop")])
def test_event_without_a_tenant_belongs_to_the_default_tenant(given: object, tenant: str) -> None:
    assert taken(json_event(tenant=given)).rows.column("tenant").to_pylist() == [tenant]


@pytest.mark.parametrize("left_out", [{}, {"properties": None}, {"properties": {}}, {"properties": {"a": None}}])
def test_null_property_counts_as_absent(left_out: dict[str, Any]) -> None:
    value = json.dumps({"user_id": USER, "event": "order", "occurred_at": AT, **left_out}).encode()
    [row] = taken(value).rows.to_pylist()
    assert (row["properties"], row["event_id"]) == ([], None)


@pytest.mark.parametrize(
    ("given", "us"),
    [
        ("2026-11-25T11:59:00Z", AT_US),
        ("2026-11-25 11:59:00z", AT_US),
        ("2026-11-25T20:59:00.000001+09:00", AT_US + 1),
        ("2026-11-25T11:58:59.999999000-00:00", AT_US - 1),
        ("2026-11-24T23:29:00-12:30", AT_US),
        (1_795_607_940_000, AT_US),
        (1_795_607_940_001, AT_US + 1000),
        ("2000-01-01T00:00:00Z", 946_684_800_000_000),
        ("2026-11-26T12:00:00Z", NOON_US + DAY_US),
    ],
)
def test_equivalent_times_are_one_instant(given: object, us: int) -> None:
    assert occurred_at_us(given) == us


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (..., "bad_time: occurred_at is missing"),
        ("2026-11-25T11:59:00", "bad_time: '2026-11-25T11:59:00' has no offset such as Z or +09:00"),
        ("2026-11-25", "bad_time: '2026-11-25' is not YYYY-MM-DDTHH:MM:SS"),
        ("1795607940", "bad_time: '1795607940' is not YYYY-MM-DD"),
        ("2026-02-30T00:00:00Z", "bad_time: '2026-02-30T00:00:00Z': day is out of range"),
        ("2026-11-25T23:59:60Z", "bad_time: '2026-11-25T23:59:60Z': second must be in 0..59"),
        ("2026-11-25T11:59:00+24:00", "bad_time: '2026-11-25T11:59:00+24:00': offset +24:00 does not exist"),
        ("2026-11-25T11:59:00.0000001Z", "bad_time: '2026-11-25T11:59:00.0000001Z' is finer than a microsecond"),
        (1_795_607_940_000.0, "bad_time: a numeric occurred_at must be whole milliseconds"),
        (True, "bad_time: a numeric occurred_at must be whole milliseconds"),
        (10**30, "bad_time: occurred_at is not a number of milliseconds"),
        ([AT], "bad_time: occurred_at is an array"),
        (
            "1969-12-31T23:59:59Z",
            "too_early: it occurred at 1969-12-31T23:59:59Z; the earliest is 2000-01-01T00:00:00Z",
        ),
        ("1999-12-31T23:59:59.999999Z", "too_early: it occurred at 1999-12-31T23:59:59.999999Z"),
        (-1, "too_early: it occurred at 1969-12-31T23:59:59.999000Z"),
        (1_795_607_940, "too_early: it occurred at 1970-01-21T18:46:47.940000Z"),  # in seconds
        (
            "2286-11-20T17:46:40Z",
            "too_far_ahead: it occurred at 2286-11-20T17:46:40Z, more than 24 hours after it was received at 2026",
        ),
        (10**13, "too_far_ahead: it occurred at 2286-11-20T17:46:40Z"),
        (1_795_607_940_000_000, "too_far_ahead: it occurred at 1795607940000000000 microseconds since 1970"),
        ("2026-11-26T12:00:00.000001Z", "too_far_ahead: it occurred at 2026-11-26T12:00:00.000001Z"),
    ],
)
def test_invalid_time_is_refused(given: object, why: str) -> None:
    assert refusal(json_event(occurred_at=given)).startswith(why)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (1_795_607_940, "; times 1,000 it is 2026-11-25T11:59:00Z: is it in another unit?"),
        (1_795_607_940_000_000, "; a thousandth of it is 2026-11-25T11:59:00Z: is it in another unit?"),
    ],
)
def test_time_in_another_unit_is_refused_with_its_meaning(given: int, hint: str) -> None:
    assert refusal(json_event(occurred_at=given)).endswith(hint)


@pytest.mark.parametrize(
    ("given", "kept"),
    [(0, 0.0), (-1.5e300, -1.5e300), (2**53, 2.0**53), ("", ""), ("é" * 4096, "é" * 4096), (False, False)],
)
def test_property_is_a_number_text_or_boolean(given: object, kept: object) -> None:
    found = properties(p=given)
    assert (found, type(found["p"])) == ({"p": kept}, type(kept))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"p": {}}, "bad_property: the property 'p' is an object, not a number, string or boolean"),
        ({"p": []}, "bad_property: the property 'p' is an array, not a number, string or boolean"),
        ({"p": MAX_PLAIN + "x"}, "bad_property: the property 'p' has 8193 bytes; at most 8192 are allowed"),
        ({"p": 2**53 + 1}, "bad_property: the property 'p' is beyond 2^53: send it as a string"),
        ({"p": "a\0"}, "bad_property: the property 'p' has a NUL character"),
        ({"p": "\ud800"}, "bad_property: the property 'p' has half of a surrogate pair"),
        ({"": 1}, "bad_property: the name of the property '' has 0 characters"),
        ({"n" * 256: 1}, f"bad_property: the name of the property '{'n' * 80}' has 256 characters"),
        ({f"p{n}": 1 for n in range(257)}, "too_many_properties: 257 properties; at most 256 are allowed"),
        ("text", "bad_property: properties is a string, not an object"),
    ],
)
def test_a_property_of_another_kind_or_size_is_refused(given: object, why: str) -> None:
    assert refusal(json_event(properties=given)).startswith(why)


def test_as_many_properties_as_are_allowed_are_kept() -> None:
    given = {f"p{n}": n for n in range(MAX_PROPERTIES)}
    assert properties(**given) == {name: float(n) for name, n in given.items()}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "undecodable: the record in muster.events begins neither with C3 01 (Avro) nor with a JSON object"),
        (b"null", "undecodable: the record in muster.events begins neither"),
        (b"[1]", "undecodable: the record in muster.events begins neither"),
        (b"\x00\x00\x00\x00\x01abc", "undecodable: it has the format of schema registry serializers"),
        (b"\xc3\x01abcdefgh", "undecodable: unknown schema fingerprint"),
        (b"{", "bad_json: invalid JSON: Expecting property name enclosed in double quotes at character 2"),
        (b'{"user_id": "a\xff"}', "bad_json: byte 14 is 0xff: not UTF-8"),
        (b'{"a": NaN}', "bad_json: NaN is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "bad_json: a number is too long"),
        (b'{"a":' * 50_000, "too_deep: objects or arrays are nested too deeply"),
        (b'{"user_id": "a", "user_id": "b"}', "duplicate_key: the key 'user_id' occurs more than once"),
        (b'{"x": {"a": 1, "a": 2}}', "duplicate_key: the key 'a' occurs more than once"),
        (
            json_event(propertis={}),
            "unknown_member: unknown member 'propertis'; known are event, event_id, occurred_at, ",
        ),
        (json_event(user_id=...), "bad_user_id: user_id is missing"),
        (json_event(user_id=None), "bad_user_id: user_id is missing"),
        (json_event(user_id=17), "bad_user_id: user_id is a number, not a string"),
        (json_event(user_id=""), "bad_user_id: the user id has 0 characters; 1 to 191 are allowed"),
        (json_event(user_id="é" * 192), "bad_user_id: the user id has 192 characters"),
        (json_event(user_id=" \u3000"), "bad_user_id: the user id is only white space"),
        (json_event(user_id="a\0"), "bad_user_id: the user id has a NUL character"),
        (json_event(user_id="\udc00"), "bad_user_id: the user id has half of a surrogate pair"),
        (json_event(tenant="Shop"), "bad_tenant: 'Shop' is not a valid tenant name"),
        (json_event(tenant=1), "bad_tenant: tenant is a number, not a string"),
        (json_event(event=...), "bad_event: event is missing"),
        (json_event(event="e" * 256), "bad_event: the name of the event has 256 characters; 1 to 255"),
        (json_event(event_id=""), "bad_event_id: the event id has 0 characters"),
        (json_event(event_id=5), "bad_event_id: event_id is a number, not a string"),
        (json_event(properties={"p": 1e400}).replace(b"Infinity", b"1e400"), "bad_property: the property 'p' is inf"),
        (
            json_event(properties={f"p{n}": MAX_PLAIN for n in range(33)}),
            "too_large: 270782 bytes; a record may have at most 262144",
        ),
    ],
)
def test_invalid_event_is_refused_with_the_reason(value: bytes, why: str) -> None:
    assert refusal(value).startswith(why)


@pytest.mark.parametrize("key", [b"bob", b'"alice"', b"", b"\xff"])
def test_a_key_that_is_not_the_user_id_is_refused(key: bytes) -> None:
    shown = key.decode("utf-8", "backslashreplace")
    assert refusal(json_event(), key=key) == f"key_mismatch: the key is {shown!r}, not the user id in UTF-8"


def test_event_without_a_key_is_accepted_in_its_users_partition() -> None:
    assert taken(json_event(), key=None).rows.num_rows == 1


def test_an_event_cannot_be_a_tombstone() -> None:
    intake = ingest_events([record(None, key=b"alice")], P)
    assert [str(r) for r in intake.refusals] == [
        "no_value: an event cannot be deleted by a record without a value",
    ]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b'{"user_id": "alice", "deleted": 1}', "bad_property: deleted is a number, not a boolean"),
        (
            b'{"user_id": "alice", "deleted": true, "attributes": {"a": 1}}',
            "bad_property: a deleted profile cannot have attributes in the same record",
        ),
        (b'{"user_id": "alice", "properties": {}}', "unknown_member: unknown member 'properties'"),
        (b'{"user_id": "alice", "attributes": {"a": [1]}}', "bad_property: the property 'a' is an array"),
        *(
            (b'{"user_id": "alice", "attributes": {"a": %b}}' % value, f"bad_property: {why}")
            for value, why in {
                b"{}": "the attribute 'a' is an object other than",
                b'{"date": "2026-11-25", "timestamp": "2026-11-25T10:00:00Z"}': "the attribute 'a' is an object other",
                b'{"date": null}': "the attribute 'a' is an object other than",
                b'{"time": "10:00"}': "the attribute 'a' is an object other than",
                b'{"date": "2026-02-29"}': "the attribute 'a' is '2026-02-29', not a date YYYY-MM-DD",
                b'{"date": "20261125"}': "the attribute 'a' is '20261125', not a date YYYY-MM-DD",
                b'{"timestamp": "2026-11-25"}': "'2026-11-25' is not YYYY-MM-DDTHH:MM:SS with an offset",
                b'{"timestamp": "2026-11-25T10:00:00"}': "'2026-11-25T10:00:00' has no offset",
                b'{"timestamp": "9999-12-31T23:59:59-01:00"}': "'9999-12-31T23:59:59-01:00' is beyond the year 9999",
                b'{"timestamp": "0001-01-01T00:00:00+01:00"}': "'0001-01-01T00:00:00+01:00' is before the year 1",
            }.items()
        ),
    ],
)
def test_invalid_profile_change_is_refused_with_the_reason(value: bytes, why: str) -> None:
    intake = ingest_profiles([profile_record(value)], P)
    assert intake.rows.num_rows == 0
    assert str(intake.refusals[0]).startswith(why)
