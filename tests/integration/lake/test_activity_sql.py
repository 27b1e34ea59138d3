"""Events and profiles as tables of queries."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.lake.activity_relations import Activity
from connectors.lake.activity_sql import events_table, profiles_table
from connectors.lake.archive import ActivityArchive
from connectors.lake.sql import Resolved, query
from connectors.lake.sql_tree import Call, EventsCall, moment_of
from schemas.ids import Partition
from schemas.topics import EVENTS, PROFILES
from tests.integration.lake.archiving import ACME, NOON, Bucket, change, event, later, values
from tests.integration.lake.support import limits

Run = Callable[[str], list[tuple[Any, ...]]]
ELSEWHERE = Partition(4)


@pytest.fixture
def run(archive: ActivityArchive, bucket: Bucket, tmp_path: Path) -> Run:
    """Runs a query over the archive, at noon."""

    def resolve(call: Call) -> Resolved:
        activity = Activity(events=archive.files(EVENTS, tenant=ACME), profiles=archive.files(PROFILES, tenant=ACME))
        if isinstance(call, EventsCall):
            since, until = (None if one is None else moment_of(one, NOON) for one in (call.since, call.until))
            sql = events_table(activity, event=call.event, since=since, until=until)
        else:
            sql = profiles_table(activity)
        return Resolved(files=activity.uris, sql=sql)

    def go(text: str) -> list[tuple[Any, ...]]:
        with query(text, resolve, s3=bucket.s3, limits=limits(tmp_path), timeout_s=60) as answer:
            return list(answer.rows)

    return go


def test_tables_without_an_archive_are_empty(run: Run) -> None:
    assert run("select count(*), count(properties['a'].string) from events('order', since => '1d')") == [(0, 0)]
    assert run("select count(*), count(attributes['a'].date) from profiles()") == [(0, 0)]


def test_events_are_selected_by_name_and_time_and_counted_once(
    run: Run, archive: ActivityArchive, bucket: Bucket
) -> None:
    rows = [
        event(0, "ann", event_id="e1", properties=values({"total": 7.5, "coupon": True})),
        event(1, "ann", identity=0, event_id="e1", properties=values({"total": 99.0})),  # a copy
        event(2, "ann", occurred_at=later(-86_400 * 40)),
        event(3, "bob", event="it's", properties=values({"city": "x"})),
        event(4, "bob", occurred_at=later(5)),
    ]
    there = bucket.write(0, 10, [event(0, "ann", identity=0, event_id="e1")], partition=ELSEWHERE)
    archive.append(EVENTS, [bucket.write(0, 10, rows), there])
    assert run("select count(*), count(distinct user_id) from events()") == [(4, 2)]
    columns = "user_id, event, event_id, properties['total'].double, properties['coupon'].boolean"
    assert run(f"select {columns} from events('order', since => '30d', until => '2026-11-25T12:00:05Z')") == [
        ("ann", "order", "e1", 7.5, True)
    ]
    assert run("select user_id, properties['city'].string, event_id from events('it''s')") == [("bob", "x", None)]
    assert run("select epoch(max(occurred_at)) from events(since => '2026-11-25')") == [(NOON.timestamp() + 5,)]
    assert run("select count(*) from events('gone')") == [(0,)]


def test_profiles_have_the_latest_value_of_each_attribute(run: Run, archive: ActivityArchive, bucket: Bucket) -> None:
    seen = datetime(2026, 11, 1, 9, tzinfo=UTC)
    rows = [
        change(0, "ann", attributes=values({"plan": "free", "age": 30.0, "born": date(1990, 2, 28), "seen": seen})),
        change(1, "ann", attributes=values({"plan": "pro", "age": None})),
        change(2, "bob", attributes=values({"plan": "free", "vip": True})),
        change(3, "bob", deleted=True),
        change(4, "bob", attributes=values({"age": 5.0})),
        change(5, "cid", attributes=values({"plan": "free"})),
        change(6, "cid", deleted=True),
        change(7, "dan", attributes=values({"plan": None})),
    ]
    archive.append(PROFILES, [bucket.write(0, 10, rows, topic=PROFILES)])
    assert run("select user_id, map_keys(attributes) from profiles() order by 1") == [
        ("ann", "['born', 'plan', 'seen']"),
        ("bob", "['age']"),
    ]
    assert run(
        "select attributes['plan'].string, attributes['born'].date, epoch(attributes['seen'].timestamp) "
        "from profiles() where user_id = 'ann'"
    ) == [("pro", "1990-02-28", seen.timestamp())]
    assert run("select user_id from profiles() where attributes['age'].double < 18") == [("bob",)]
