"""Single records decoded together come to the same as one by one: the same rows, the same refusals, the same moves."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.activity import MAX_PROPERTIES, PROPERTY_MAX_BYTES, RECORD_MAX_BYTES
from schemas.codec import CODEC, HEADER_BYTES
from schemas.errors import FatalError
from schemas.ids import TenantName
from schemas.messages import AttributeValue, EventRecord, ProfileRecord
from schemas.topics import EVENTS, PROFILES
from segmentation.intake import events, profiles
from segmentation.intake.events import ingest_events
from segmentation.intake.profiles import ingest_profiles
from segmentation.intake.single_records import valid_singles
from segmentation.intake.topic_records import RecordBatch, TopicRecord, records_of
from tests.examples import examples
from tests.fakes.record_batches import in_a_batch
from tests.unit.segmentation.intake.sending import AT, NOON_US, USER, P, record

Shares = list[float]
TEXTS = [
    USER,
    "bob",
    "",
    " ",
    "\u3000",
    "\u3042\u3044",
    "\U0001f600",
    '"',
    "\\",
    "/",
    "\0",
    "\x1f",
    "\x7f",
    "\ud800",
    "x" * 255,
    "x" * 256,
    "\u3042" * 255,
    "\u3042" * 256,
    "a\nb",
    "\ufeff",
]
NUMBERS = [
    "0",
    "-0",
    "-0.0",
    "1",
    "01",
    "1.",
    ".5",
    "1.5",
    "-12.25e-3",
    "1E5",
    "1e+22",
    "1e23",
    "123456789012345678",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "12.340000000000002",
    "0.1234567890123456789012345",
    "7.2057594037927933e16",
    "1e308",
    "1e309",
    "1e400",
    "1e-400",
    "4.9e-324",
    "2.2250738585072011e-308",
    "1e999999",
    "NaN",
    "Infinity",
    "-",
    "+1",
    "1e",
    "0x10",
]
TIMES = [
    AT,
    "2026-11-25T11:59:00+09:00",
    "2026-11-25t11:59:00z",
    "2026-11-25 11:59:00.123456Z",
    "2026-11-25T11:59:00.123456700Z",
    "2026-11-25T11:59:00.1234560000Z",
    "2026-11-25T11:59:00",
    "2026-11-25T11:59Z",
    "2026-11-25T11:59:60Z",
    "2026-02-29T11:59:00Z",
    "2024-02-29T11:59:00-23:59",
    "2026-11-25T11:59:00+24:00",
    "2026-11-25T11:59:00+0900",
    "2026-11-25T11:59:00+09",
    "0000-01-01T00:00:00Z",
    "1999-12-31T23:59:59Z",
    "2026-11-27T00:00:00Z",
    "9999-12-31T23:59:59-23:59",
]
ROUND_TRIPS = [json.dumps(text) for text in TEXTS] + [json.dumps(text, ensure_ascii=False) for text in TEXTS]


DATES = ['{"date":"2026-11-25"}', '{"timestamp":"2026-11-25T11:59:00+09:00"}', '{"date":"2026-11-31"}', '{"date":1}']


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (events, profiles):
        monkeypatch.setattr(module, "valid_singles", lambda records, *_: ([], np.zeros(len(records), np.bool_)))


def outcome(found: Sequence[TopicRecord | RecordBatch], topic: str) -> Any:
    ingest: Callable[..., Any] = ingest_events if topic == EVENTS else ingest_profiles
    intake = ingest(found, P, lambda tenant, _: tenant != "unknown")
    moves = getattr(intake, "moves", ())
    return intake.records, intake.rows.to_pylist(), moves, intake.refusals, intake.refused


def same(found: Sequence[TopicRecord | RecordBatch], topic: str = EVENTS) -> Any:
    together = outcome(found, topic)
    with pytest.MonkeyPatch.context() as patch:
        one_by_one(patch)
        alone = outcome(found, topic)
    assert repr(together) == repr(alone)  # -0.0 is not 0.0
    return together


def values() -> st.SearchStrategy[str]:
    """Texts of JSON values, and of what is none."""
    plain = st.sampled_from(
        [*ROUND_TRIPS, *NUMBERS, *map(json.dumps, TIMES), "true", "false", "null", "tru", "[1]", "{}", *DATES]
    )
    drawn = st.one_of(
        st.text(max_size=8).map(json.dumps),
        st.text(max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False)),
        st.floats().map(repr),
        st.integers(-(2**70), 2**70).map(str),
        st.integers(1_700_000_000_000, 1_795_608_000_000).map(str),
        st.decimals(allow_nan=False, allow_infinity=False, places=18).map(str),
    )
    return plain | drawn


def members_of(names: list[str], nested: str) -> st.SearchStrategy[str]:
    """Objects with some members more than once, in any order, with any white space."""
    keys = st.sampled_from([*map(json.dumps, names), r'"\u0075ser_id"', '"other"', '""', '"\u3042"', '" "', '"x\\/y"'])
    spaces = st.sampled_from(["", "", "", " ", "\n", "\t\r"])

    def text(pairs: list[tuple[str, str, str]]) -> str:
        return "{" + ",".join(f"{space}{key}{space}:{space}{value}{space}" for key, value, space in pairs) + "}"

    inner = st.lists(st.tuples(keys | st.text(max_size=3).map(json.dumps), values(), spaces), max_size=4).map(text)
    pairs = st.lists(st.tuples(keys, values() | inner, spaces), max_size=3)
    needed = st.tuples(st.just(f'"{nested}"'), inner | values(), spaces)
    return st.tuples(st.lists(needed, max_size=1), pairs, st.sampled_from(["", " ", "x", "\n"])).map(
        lambda drawn: text([*drawn[0], *drawn[1]]) + drawn[2]
    )


def valid(members: str) -> str:
    """The object with what every event needs in front."""
    return '{"user_id":"alice","event":"e","occurred_at":1795600000000' + (
        "," + members[1:] if members.lstrip("{").strip() not in {"", "}"} and members[1:2] != "}" else "}" + members[2:]
    )


def damaged(value: bytes, how: tuple[int, int] | None) -> bytes:
    if how is None or not value:
        return value
    at, byte = how[0] % len(value), how[1]
    return value[:at] + bytes([byte]) + value[at + 1 :]


KEYS = st.sampled_from([None, None, b"alice", b"bob", b"", b"alicf"])
DAMAGE = st.none() | st.tuples(st.integers(0, 400), st.integers(0, 255))


@given(
    st.lists(
        st.tuples(
            members_of(["user_id", "event", "occurred_at", "event_id", "tenant"], "properties"),
            st.booleans(),
            KEYS,
            DAMAGE,
        ),
        max_size=6,
    )
)
@example([])
def test_events_in_json(given_: list[tuple[str, bool, bytes | None, tuple[int, int] | None]]) -> None:
    same(
        [
            record(damaged((valid(text) if needed else text).encode("utf-8", "surrogatepass"), how), key=key, offset=n)
            for n, (text, needed, key, how) in enumerate(given_)
        ]
    )


@given(st.lists(st.tuples(members_of(["user_id", "deleted", "tenant"], "attributes"), KEYS, DAMAGE), max_size=6))
def test_profiles_in_json(given_: list[tuple[str, bytes | None, tuple[int, int] | None]]) -> None:
    records = [
        record(
            damaged(
                text.replace("{", '{"user_id":"alice",', 1).replace(",}", "}").encode("utf-8", "surrogatepass"), how
            ),
            key=key,
            offset=n,
            topic=PROFILES,
        )
        for n, (text, key, how) in enumerate(given_)
    ]
    same(records, PROFILES)


PROPERTIES = st.dictionaries(
    st.text(max_size=5) | st.sampled_from(["x" * 256, "\u3042", ""]),
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.just("x" * (PROPERTY_MAX_BYTES + 1)),
    max_size=4,
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["alice", "bob", "", "\u3042", "\0"]),
            PROPERTIES,
            st.none() | st.text(max_size=3),
            st.sampled_from(["default", "shop", "unknown", "NO!"]),
            st.booleans(),
            DAMAGE,
            KEYS,
        ),
        max_size=6,
    )
)
def test_records_in_avro(given_: list[tuple[Any, ...]]) -> None:
    sent = {EVENTS: [], PROFILES: []}  # type: dict[str, list[TopicRecord]]
    for n, (user, values_, event_id, tenant, flag, how, key) in enumerate(given_):
        event = EventRecord(
            user_id=user, event="e", occurred_at_us=NOON_US, properties=values_, event_id=event_id, tenant=tenant
        )
        dates: dict[str, AttributeValue] = {"on": date(2026, 11, 25), "at": datetime(1969, 7, 20, 20, 17, tzinfo=UTC)}
        attributes = values_ | dates if n % 2 else values_
        profile = ProfileRecord(user_id=user, attributes={} if flag else attributes, deleted=flag, tenant=tenant)
        for topic, message in ((EVENTS, event), (PROFILES, profile)):
            try:
                value = CODEC.encode(message)
            except UnicodeEncodeError:
                continue
            sent[topic].append(record(damaged(value, how), key=key, offset=n, topic=topic))
    for topic, records in sent.items():
        same(records, topic)


def quoted(key: str) -> str:
    return key if key.startswith('"') else json.dumps(key)


def object_of(pairs: Sequence[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{quoted(key)}:{value}" for key, value in pairs) + "}"


def event_of(pairs: Sequence[tuple[str, str]], **properties: str) -> TopicRecord:
    given_ = {"user_id": '"alice"', "event": '"e"', "occurred_at": "1795600000000"} | dict(pairs)
    if properties:
        given_["properties"] = object_of(list(properties.items()))
    return record(object_of(list(given_.items())).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("text", ROUND_TRIPS + NUMBERS + list(map(json.dumps, TIMES)))
def test_each_value_in_each_place(text: str) -> None:
    places = ["user_id", "event", "occurred_at", "event_id", "tenant", "properties", "deleted"]
    for name in [*places, text if text.startswith('"') else "x"]:
        same([event_of([(name, text)])])
    same([event_of([], **{name: text}) for name in ["x", text if text.startswith('"') else "y"]])


def test_ordinary_records_are_batched() -> None:
    texts = [json.dumps(text) for text in (USER, "\u3042\u3044", "\U0001f600", '"', "a/b\n", "")]
    numbers = ["0", "-1", "12.34", "12.340000000000002", "1e5", "9007199254740992", "7.2057594037927933e-16"]
    ordinary = [event_of([], p=text) for text in [*texts, r'"a\/b"', *numbers, "true", "false", "null"]]
    ordinary += [event_of([("occurred_at", json.dumps(at))]) for at in (AT, "2026-11-25 11:59:00.123456+09:00")]
    ordinary += [
        event_of([("event_id", '"1"'), ("tenant", '"shop"')]),
        event_of([("event_id", "null"), ("properties", "null")]),
    ]
    event = EventRecord(
        user_id=USER, event="e", occurred_at_us=NOON_US, properties={"a": 1.0, "b": None, "c": "x", "d": True}
    )
    ordinary += [
        record(CODEC.encode(event)),
        record(CODEC.encode(replace(event, event_id="1", tenant=TenantName("shop")))),
    ]
    taken = valid_singles(
        records_of(ordinary), events._SHAPE, lambda one: events._rows_of_singles(one, P, lambda *_: True)
    )[1]
    assert taken.all(), [ordinary[row].value for row in np.flatnonzero(~taken)]
    rows, moves, refusals = same(ordinary)[1:4]
    assert (len(rows), moves, refusals) == (len(ordinary), (), ())


def test_profiles_of_older_schemas_are_batched() -> None:
    body = CODEC.encode(ProfileRecord(user_id=USER, attributes={"a": 1.0, "b": None}))[HEADER_BYTES:]
    found = [record(header + body, topic=PROFILES) for header in CODEC.headers(ProfileRecord)]
    assert len(found) == 2
    taken = valid_singles(
        records_of(found), profiles._SHAPE, lambda one: profiles._rows_of_singles(one, P, lambda *_: True)
    )[1]
    assert taken.all()
    same(found, PROFILES)


@pytest.mark.parametrize("properties", [MAX_PROPERTIES, MAX_PROPERTIES + 1])
def test_property_count_at_and_beyond_the_limit(properties: int) -> None:
    for value in ("1", "null"):
        outcome_ = same([event_of([], **{f"p{n}": value for n in range(properties)})])
        assert len(outcome_[3]) == (properties > MAX_PROPERTIES)


@pytest.mark.parametrize("size", [RECORD_MAX_BYTES, RECORD_MAX_BYTES + 1])
def test_the_largest_record_and_a_larger_one(size: int) -> None:
    value = event_of([]).value or b""
    assert len(same([record(value + b" " * (size - len(value)))])[3]) == (size > RECORD_MAX_BYTES)


def mixed(topic: str) -> list[TopicRecord]:
    """Records of all kinds, good and bad."""
    name, message = (
        ("properties", EventRecord(user_id=USER, event="e", occurred_at_us=NOON_US))
        if topic == EVENTS
        else ("attributes", ProfileRecord(user_id=USER))
    )
    fixed = [("event", '"e"'), ("occurred_at", "1795600000000")] if topic == EVENTS else []
    good = object_of([("user_id", '"alice"'), *fixed, (name, '{"a":1,"b":"x","c":null}')]).encode()
    moved = good.replace(b"alice", b"bob")
    found = [
        good,
        CODEC.encode(message),
        b"",
        None,
        b"[]",
        moved,
        good,
        b"\xc3\x01",
        good[:-1],
        b"\0" * 40,
        good + b"\n",
        good,
    ]
    return [
        record(value, topic=topic, key=[None, b"alice", b"bob"][n % 3], offset=n) for n, value in enumerate(found * 3)
    ]


@pytest.mark.parametrize("topic", [EVENTS, PROFILES])
def test_batches_equal_single_records(topic: str) -> None:
    records = mixed(topic)
    alone = same(records, topic)
    for seed in range(20):
        random_ = random.Random(seed)
        cuts = sorted({0, len(records), *(random_.randrange(len(records)) for _ in range(4))})
        found: list[TopicRecord | RecordBatch] = []
        for first, end in pairwise(cuts):
            found += [in_a_batch(records[first:end])] if random_.random() < 0.7 else records[first:end]
        assert repr(outcome(found, topic)) == repr(alone)
        assert repr(same(found, topic)) == repr(alone)


def test_records_before_the_position_are_dropped() -> None:
    records = mixed(EVENTS)
    found = in_a_batch([one.moved(100) for one in records], skipped=5)
    assert outcome([found], EVENTS) == outcome([one.moved(100) for one in records[5:]], EVENTS)
    assert outcome([found.moved(1000)], EVENTS) == outcome([one.moved(1100) for one in records[5:]], EVENTS)


def test_a_broken_batch_ends_the_worker_and_reads_no_byte_outside() -> None:
    whole = in_a_batch(mixed(EVENTS)[:4])
    body = whole.body
    random_ = random.Random(7)
    broken = 0
    for cut in [*range(len(body)), *[-1] * examples(500).max_examples]:
        damaged_ = body[:cut]
        if cut < 0:
            at = random_.randrange(len(body))
            damaged_ = body[:at] + bytes([random_.randrange(256)]) + body[at + 1 :]
        try:
            outcome([replace(whole, body=damaged_)], EVENTS)
        except FatalError as exc:
            broken += exc.code == "BROKEN_BATCH"
    assert broken > len(body)
