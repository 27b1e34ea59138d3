"""A shop's clicks, with late and duplicate ones: at many instants the stream's answers equal those of SQL."""

import csv
import gzip
import io
import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from schemas.ids import AudienceName, Partition, TenantName
from schemas.segment_messages import RuleActivated
from schemas.topics import EVENTS, PROFILES
from segmentation.expressions.literals import EPOCH
from segmentation.intake.events import ingest_events
from segmentation.intake.profiles import ingest_profiles
from segmentation.intake.topic_records import TopicRecord
from segmentation.partitions.log_position import LogPosition
from segmentation.partitions.partition import Emission, PartitionSegments
from segmentation.rules.parser import parse_rule
from segmentation.rules.records import rule_record
from segmentation.rules.references import evaluation_order
from segmentation.rules.sql import Relations, members_sql
from tests.clicks import LOGS, click_log
from tests.examples import examples
from tests.fakes.segment_world import World, follow

INSTANTS = examples(32).max_examples
SHOP = TenantName("default")
RULES = {
    "fills-carts": 'count(add_to_cart, 3d) >= 3 and lifecycle = "returning"',
    "browses": "count(product_view, 1d) >= 5 and never(purchase)",
    "bought-once": "count(purchase, 30d) = 1",
    "mobile-buyers": 'ever(purchase where platform = "mobile") and not lifecycle in ("new")',
    "quiet": "count(home, 14d) <= 0 and ever(home)",
    "gone-quiet": "in segment quiet and last(add_to_cart) < 2024-06-01T00:00:00Z",
    "early": 'first(home) < 2024-03-01T00:00:00Z or cohort = "2024-01"',
    "just-now": "count(home, 90s) >= 1",
}


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A record, and when the broker takes it."""

    at: datetime
    topic: str
    user: str
    fields: dict[str, Any]


def arrivals(name: str) -> list[Arrival]:
    """Most clicks come at once, some within hours, a few after days, one in twenty twice; profiles when they change."""
    dice, found, lifecycles = random.Random(20_263), list[Arrival](), dict[str, str]()
    with gzip.open(io.BytesIO(click_log(name)), "rt", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            occurred_at = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
            late = timedelta(seconds=dice.choice([0] * 16 + [60, 3_600, 3 * 86_400, -60]))
            click = {
                "event": row["event"],
                "event_id": str(number),
                "occurred_at": occurred_at.isoformat(),
                "properties": {"platform": row["platform"], "channel": row["acquisition_channel"]},
            }
            for again in range(2 if dice.random() < 0.05 else 1):
                at = occurred_at + late + timedelta(hours=5 * again)
                found.append(Arrival(at=at, topic=EVENTS, user=row["user_id"], fields=click))
            if lifecycles.get(row["user_id"]) != row["user_lifecycle"]:
                lifecycles[row["user_id"]] = row["user_lifecycle"]
                attributes = {"lifecycle": row["user_lifecycle"], "cohort": row["user_cohort"]}
                found.append(
                    Arrival(at=occurred_at, topic=PROFILES, user=row["user_id"], fields={"attributes": attributes})
                )
    return sorted(found, key=lambda arrival: arrival.at)


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


class Stream:
    """The only partition, and the members that its followers derive from its changes."""

    def __init__(self, start: datetime) -> None:
        self._segments = PartitionSegments(Partition(0), LogPosition(at_us=micros(start)))
        self._offsets = {EVENTS: 0, PROFILES: 0}
        self.emitted: dict[str, set[str]] = {name: set() for name in RULES}
        world = World(micros(start))
        for number, (name, text) in enumerate(RULES.items()):
            rule = json.dumps(rule_record(parse_rule(text)))
            message = RuleActivated(tenant=SHOP, segment=AudienceName(name), rule_version=1, rule=rule)
            self._follow(self._segments.activate(message, number, world.past(), micros(start)))

    def take(self, batch: list[Arrival]) -> None:
        for topic, some in groupby(batch, key=lambda arrival: arrival.topic):
            records = [self._record(arrival) for arrival in some]
            end, now = records[-1].offset + 1, records[-1].received_at_us
            if topic == EVENTS:
                taken = ingest_events(records, 1)
                assert (taken.moves, taken.refusals) == ((), ())
                self._follow(self._segments.apply_events(taken.rows, end, now))
            else:
                changed = ingest_profiles(records, 1)
                assert changed.refusals == ()
                self._follow(self._segments.apply_profiles(changed.rows, end, now))

    def advance(self, at: datetime) -> None:
        self._follow(self._segments.advance(micros(at)))

    def members(self, name: str) -> set[str]:
        found = self._segments.members(SHOP, AudienceName(name))
        assert found is not None
        return set(found.to_pylist())

    def _record(self, arrival: Arrival) -> TopicRecord:
        offset = self._offsets[arrival.topic]
        self._offsets[arrival.topic] += 1
        return TopicRecord(
            topic=arrival.topic,
            partition=Partition(0),
            offset=offset,
            key=arrival.user.encode(),
            value=json.dumps({"user_id": arrival.user, **arrival.fields}).encode(),
            received_at_us=micros(arrival.at),
        )

    def _follow(self, emitted: list[Emission]) -> None:
        for one in emitted:
            follow(self.emitted[one.changes.segment], one.changes)


class Batch:
    """All arrivals, in tables of DuckDB; a rule is evaluated over those up to an instant."""

    def __init__(self, all_of_it: list[Arrival]) -> None:
        self._database = duckdb.connect()
        clicks = [arrival for arrival in all_of_it if arrival.topic == EVENTS]
        changes = [arrival for arrival in all_of_it if arrival.topic == PROFILES]
        texts = pa.map_(pa.string(), pa.string())
        self._register(
            "clicks",
            clicks,
            event=pa.array([a.fields["event"] for a in clicks]),
            event_id=pa.array([a.fields["event_id"] for a in clicks]),
            occurred_at=pa.array([datetime.fromisoformat(a.fields["occurred_at"]) for a in clicks], MOMENT),
            strings=pa.array([[*a.fields["properties"].items()] for a in clicks], texts),
        )
        self._register(
            "changes", changes, strings=pa.array([[*a.fields["attributes"].items()] for a in changes], texts)
        )

    def members(self, at: datetime) -> dict[str, set[str]]:
        arrived = f"arrived_at <= TIMESTAMPTZ '{at.isoformat()}'"
        none = "map {}::MAP(VARCHAR, %s)"
        empty = f"{none % 'DOUBLE'} AS numbers, {none % 'BOOLEAN'} AS booleans"
        dates = f"{none % 'DATE'} AS dates, {none % 'TIMESTAMPTZ'} AS timestamps"
        views = {
            "events": f"SELECT *, {empty} FROM clicks WHERE {arrived}",
            "profiles": f"SELECT user_id, arg_max(strings, arrived_at) AS strings, {empty}, {dates} FROM changes "
            f"WHERE {arrived} GROUP BY user_id",
            "known_users": f"SELECT user_id FROM clicks WHERE {arrived} UNION "
            f"SELECT user_id FROM changes WHERE {arrived}",
        }
        for name, query in views.items():
            self._database.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
        rules = {name: parse_rule(text) for name, text in RULES.items()}
        found: dict[str, set[str]] = {}
        for name in evaluation_order(rules):
            columns = [*zip(*(("segment", of, user) for of, users in found.items() for user in users), strict=True)]
            named = zip(("kind", "name", "user_id"), columns or [(), (), ()], strict=True)
            self._database.register("members", pa.table({column: pa.array(v, pa.string()) for column, v in named}))
            asked = members_sql(rules[name], Relations(), at)
            found[name] = {user for (user,) in self._database.execute(asked.text, asked.parameters).fetchall()}
        return found

    def _register(self, name: str, of: list[Arrival], **columns: pa.Array) -> None:
        users, arrived = pa.array([a.user for a in of]), pa.array([a.at for a in of], MOMENT)
        self._database.register(f"{name}_given", pa.table({"user_id": users, "arrived_at": arrived, **columns}))
        self._database.execute(f"CREATE TABLE {name} AS FROM {name}_given")


MOMENT = pa.timestamp("us", "UTC")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[] if name == "generated" else pytest.mark.faults("the same, of more clicks", seconds=40)
        )
        for name in LOGS
    ],
)
def test_stream_matches_sql_at_every_instant_of_a_shops_clicks(name: str) -> None:
    clicks = arrivals(name)
    start, end = clicks[0].at, clicks[-1].at + timedelta(days=40)
    stream, batch = Stream(start), Batch(clicks)
    ever: dict[str, int] = dict.fromkeys(RULES, 0)
    taken = 0
    # Every other instant is that of a click, to test a click at the exact instant from which it counts; half of those
    # are of the event that a rule counts within seconds.
    even = [start + (end - start) * number / INSTANTS for number in range(2, INSTANTS + 1, 2)]
    dice, homes = random.Random(60), [arrival for arrival in clicks if arrival.fields.get("event") == "home"]
    chosen = [*dice.sample(clicks, INSTANTS // 4), *dice.sample(homes, INSTANTS // 4)]
    for at in sorted([*even, *(arrival.at for arrival in chosen)]):
        due = [arrival for arrival in clicks[taken:] if arrival.at <= at]
        for first in range(0, len(due), 97):
            stream.take(due[first : first + 97])
        taken += len(due)
        stream.advance(at)
        expected = batch.members(at)
        assert {name: stream.members(name) for name in RULES} == expected
        assert stream.emitted == expected
        ever = {name: max(most, len(expected[name])) for name, most in ever.items()}
    assert taken == len(clicks)
    assert all(ever.values()), ever
