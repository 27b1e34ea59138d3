"""Compiles every kernel of the core, so that numba's disk cache is filled: `python -m segmentation.warm`.

A worker with an empty cache compiles for a minute while records wait. The kernels are called as in production: by
intake of records, and by evaluation of rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import pyarrow as pa

from schemas.activity_columns import ATTRIBUTE_TYPES, DELETED_COLUMN, EVENT_COLUMNS
from schemas.arrow import arrow_schema
from schemas.codec import CODEC
from schemas.columns import Column, RowSchema
from schemas.ids import Partition, Seq, TenantName
from schemas.messages import EventChunk, EventRecord, Message, ProfileChunk, ProfileRecord
from schemas.row_digest import digest_rows
from schemas.rows import encode_rows
from schemas.topics import EVENTS, PROFILES
from schemas.warm import warm as warm_hashing
from segmentation.evaluation.evaluator import Evaluator
from segmentation.evaluation.plan import ActiveRule
from segmentation.evaluation.state import State
from segmentation.evaluation.succession import Succession
from segmentation.intake.batches import event_batches, profile_batches
from segmentation.intake.events import ingest_events
from segmentation.intake.profiles import ingest_profiles
from segmentation.intake.topic_records import TopicRecord
from segmentation.rules.nodes import Member
from segmentation.rules.parser import parse_rule
from segmentation.sorting import sort_strings

_AT_US: Final = 1_767_225_600_000_000  # 2026-01-01
_HOUR_US: Final = 3_600_000_000
_RULES: Final = {
    name: ActiveRule(version=1, rule=parse_rule(text))
    for name, text in (
        ("one", "count(e where n >= 1, 1h) >= 1 and not a >= 2"),
        (
            "two",
            'count(e, 1d) <= 2 and last(e) >= 2025-01-01T00:00:00Z and first(e where t = "x") < 2027-01-01T00:00:00Z',
        ),
        (
            "sums",
            "sum(n of e, 1h) >= 2 and avg(n of e) < 3 and distinct(t of e, 1d) >= 1 and max(n of e, 1d) < 9",
        ),
        ("steps", "sequence(e then not e within 1h same t, 1d)"),
        ("three", "ever(e where b = true) and in audience x and in segment one and a is set"),
    )
}
_PROPERTIES: Final = (Column(name="n", type="double"), Column(name="t"), Column(name="b", type="boolean"))


def warm() -> None:
    """Call every kernel. Takes a minute with an empty cache, a second otherwise."""
    warm_hashing()
    evaluator = Evaluator(_RULES, at_us=_AT_US)
    for at_us in (_AT_US, _AT_US + 2 * _HOUR_US):
        for _, events in event_batches(ingest_events([_chunk(0), *_events(1), _json_event(5)], 1).rows):
            evaluator.apply_events(events, at_us)
        for _, profiles in profile_batches(ingest_profiles(_profiles(), 1).rows):
            evaluator.apply_profiles(profiles, at_us)
    evaluator.set_members(Member(kind="audience", name="x"), pa.array(["u0"]), evaluator.at_us)
    evaluator.advance(evaluator.at_us + 50 * _HOUR_US)
    restored = Evaluator(_RULES, state=State.from_columns(evaluator.plan, evaluator.at_us, evaluator.state.columns()))
    restored.settle()
    succession = Succession({"four": ActiveRule(version=1, rule=parse_rule("count(e, 2d) >= 1 or a = 1"))}, restored)
    succession.known(pa.array(["u0", "u9"]))
    for _, events in event_batches(ingest_events([_chunk(0)], 1).rows):
        succession.events(events)
    for _, profiles in profile_batches(ingest_profiles(_profiles(), 1).rows):
        succession.profiles(profiles)
    succession.settle()
    sort_strings(pa.array(["u1", "u0"] * 30))


def _record(topic: str, offset: int, message: Message) -> TopicRecord:
    return TopicRecord(
        topic=topic,
        partition=Partition(0),
        offset=offset,
        key=None,
        value=CODEC.encode(message),
        received_at_us=_AT_US,
    )


def _chunk(offset: int) -> TopicRecord:
    schema = RowSchema(columns=(*EVENT_COLUMNS, *_PROPERTIES))
    rows = [
        {"_ordinal": n, "user_id": f"u{n % 3}", "event": "e", "occurred_at": _AT_US + n, "n": 1.0, "t": "x", "b": n > 1}
        for n in range(200)
    ]
    return _chunk_record(EVENTS, offset, EventChunk, schema, rows)


def _profile_chunk(offset: int) -> TopicRecord:
    """A chunk with an attribute of each type."""
    attributes = tuple(Column(name=f"a_{type_}", type=type_) for type_ in ATTRIBUTE_TYPES)
    values = {"a_double": 1.0, "a_string": "x", "a_boolean": True, "a_date": 1, "a_timestamp": _AT_US}
    rows = [{"_ordinal": n, "user_id": f"u{n}", "deleted": False, **values} for n in range(3)]
    schema = RowSchema(columns=(DELETED_COLUMN, *attributes))
    return _chunk_record(PROFILES, offset, ProfileChunk, schema, rows)


def _chunk_record(
    topic: str,
    offset: int,
    kind: type[EventChunk] | type[ProfileChunk],
    schema: RowSchema,
    rows: Sequence[Mapping[str, object]],
) -> TopicRecord:
    batch = pa.RecordBatch.from_pylist(rows, schema=arrow_schema(schema, ordinal=True))
    chunk = kind(
        tenant=TenantName("default"),
        source="warm",
        import_id=None,
        attempt=None,
        partition=Partition(0),
        seq=Seq(0),
        count=len(rows),
        digest=digest_rows(batch, schema),
        rows=encode_rows(batch),
    )
    return _record(topic, offset, chunk)


def _events(offset: int) -> list[TopicRecord]:
    """Events, some at the same instant, some in the future."""
    return [
        _record(
            EVENTS,
            offset + n,
            EventRecord(
                user_id=f"u{n % 2}",
                event="e",
                occurred_at_us=_AT_US + n // 2 * _HOUR_US,
                properties={"n": 2.0, "t": "x"},
            ),
        )
        for n in range(4)
    ]


def _json_event(offset: int) -> TopicRecord:
    members = (
        rb'"user_id":"\u0061","event":"e","occurred_at":"2026-01-01T00:00:00Z","properties":{"n":1.23456789012345678}'
    )
    return replace(_events(offset)[0], value=b"{" + members + b"}")


def _profiles() -> list[TopicRecord]:
    changes = [ProfileRecord(user_id="u0", attributes={"a": 1.0}), ProfileRecord(user_id="u1", deleted=True)]
    return [_profile_chunk(0), *(_record(PROFILES, offset, change) for offset, change in enumerate(changes, 1))]


if __name__ == "__main__":
    warm()
