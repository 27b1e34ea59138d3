"""From the bytes of producers to the members of a segment."""

import json
from datetime import date
from typing import Any

from schemas.codec import CODEC
from schemas.columns import Column
from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.plan import ActiveRule
from segmentation.intake.batches import event_batches, profile_batches
from segmentation.intake.events import ingest_events
from segmentation.intake.profiles import ingest_profiles
from segmentation.intake.topic_records import TopicRecord
from segmentation.rules.parser import parse_rule
from tests.unit.segmentation.intake.sending import (
    NOON_US,
    P,
    event_chunk,
    json_event,
    profile_chunk,
    profile_record,
    record,
)


def evaluator(rule: str) -> Evaluator:
    return Evaluator({"s": ActiveRule(version=1, rule=parse_rule(rule, timezone="UTC"))}, at_us=0)


def members(rule: str, *records: TopicRecord, tenant: str = "default") -> list[str]:
    """Members of a tenant's segment after records of both topics."""
    evaluated = evaluator(rule)
    for one in records:
        if one.topic == "muster.events":
            events = ingest_events([one], P)
            assert (events.refusals, events.moves) == ((), ())
            for of, batch in event_batches(events.rows):
                if of == tenant:
                    evaluated.apply_events(batch, NOON_US)
        else:
            profiles = ingest_profiles([one], P)
            assert profiles.refusals == ()
            for of, changes in profile_batches(profiles.rows):
                if of == tenant:
                    evaluated.apply_profiles(changes, NOON_US)
    found: list[str] = evaluated.members("s").to_pylist()
    return sorted(found)


def event(offset: int, **members_: Any) -> TopicRecord:
    return record(json_event(**members_), offset=offset)


def change(user: str, **attributes: Any) -> TopicRecord:
    return profile_record(json.dumps({"user_id": user, "attributes": attributes}).encode())


TWICE = "count(order, 1d) >= 2"


def test_event_with_an_id_counts_once_in_any_form() -> None:
    at = "2026-11-25T11:59:00Z"
    again = [event(n, event_id="o-1", occurred_at=at) for n in (1, 2)]
    assert members(TWICE, *again) == []
    assert members(TWICE, *again, event(3, event_id="o-2", occurred_at=at)) == ["alice"]


def test_each_record_without_an_id_is_an_event() -> None:
    assert members(TWICE, event(1), event(2)) == ["alice"]
    assert members(TWICE, event(1), event(1)) == []  # the same record, read again


def test_resent_chunk_counts_once() -> None:
    chunk = CODEC.encode(event_chunk([{}]))
    assert members(TWICE, record(chunk, offset=1), record(chunk, offset=2), tenant="shop") == []
    two = CODEC.encode(event_chunk([{}, {}]))
    assert members(TWICE, record(two, offset=1), tenant="shop") == ["alice"]


def test_property_of_another_type_matches_no_condition() -> None:
    def ever(total: object) -> list[str]:
        return members("ever(order where total >= 12)", event(1, properties={"total": total}))

    assert ever(12) == ["alice"]
    assert [ever("12"), ever(True), ever(None), ever(11.9)] == [[], [], [], []]


def test_event_ahead_of_the_clock_counts_at_its_own_time() -> None:
    evaluated = evaluator("ever(order)")
    [(_, batch)] = event_batches(ingest_events([event(1, occurred_at="2026-11-25T13:00:00Z")], P).rows)
    evaluated.apply_events(batch, NOON_US)
    assert evaluated.members("s").to_pylist() == []
    evaluated.advance(NOON_US + 3_600_000_000)
    assert evaluated.members("s").to_pylist() == ["alice"]


def test_tenants_are_isolated_from_each_others_events() -> None:
    records = [event(1, tenant="acme"), event(2, tenant="shop"), event(3, tenant="shop")]
    batches = dict(event_batches(ingest_events(records, P).rows))
    assert {tenant: len(batch.user_ids) for tenant, batch in batches.items()} == {"acme": 1, "shop": 2}
    assert members(TWICE, *records, tenant="acme") == []
    assert members(TWICE, *records, tenant="shop") == ["alice"]


def test_attributes_are_set_unset_and_forgotten() -> None:
    def who(*changes: TopicRecord) -> list[str]:
        return members("age >= 18", *changes)

    adult = change("alice", age=30)
    assert who(adult) == ["alice"]
    assert who(adult, change("alice", plan="gold")) == ["alice"]
    assert who(adult, change("alice", age=None)) == []
    assert who(adult, change("alice", age="30")) == []
    assert who(adult, profile_record(None, key=b"alice")) == []


def test_dates_in_a_profile_chunk_stay_dates() -> None:
    chunk = profile_chunk([{"born": date(2000, 1, 1)}], Column(name="born", type="date"))
    sent = profile_record(CODEC.encode(chunk))
    assert members("born < 2000-01-02", sent, tenant="shop") == ["alice"]
    assert members("born < 2000-01-01", sent, tenant="shop") == []
