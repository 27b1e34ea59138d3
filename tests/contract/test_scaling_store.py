"""Decisions about counts, on every database that may hold the catalog."""

import threading
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from orchestration.catalog import scaling
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.engine import Database
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.scaling import APPLIED_FRESH_MS, ScalingStore
from orchestration.catalog.tables import schedules, segments, transitions
from orchestration.notifications.outbox import Outbox
from orchestration.notifications.recipients import Recipient
from orchestration.platform.settings import Secret
from schemas.import_spec import ImportSpec
from schemas.import_targets import activity_spec
from segmentation.scaling import WORKER_BYTES, Demand, Limits, Range, Scaled, Wanted
from tests.contract.test_catalog import (  # noqa: F401  # fixtures
    ACME,
    AUDIENCE_ID,
    database,
    job_number,
    new_job,
    url,
)
from tests.waiting import until

IDLE_MS = 600_000
LIMITS = Limits(workers=Range(least=0, most=4), segment_workers=Range(least=0, most=4), idle_ms=IDLE_MS)
LONG_AFTER = 10 * IDLE_MS
KINDS = {"audience": ImportSpec(), "events": activity_spec("events", {}), "profiles": activity_spec("profiles", {})}


@pytest.fixture
def store(database: Database) -> ScalingStore:  # noqa: F811
    return ScalingStore(database)


@pytest.fixture
def jobs(database: Database) -> JobStore:  # noqa: F811
    AudienceStore(database).add_tenant(ACME, 1)
    return JobStore(database)


def counts(store: ScalingStore) -> tuple[int, ...]:
    """Workers, segment workers, control planes."""
    wanted = store.wanted()
    return tuple(wanted[part].count for part in Scaled if part is not Scaled.FEEDER)


def decided(store: ScalingStore, now_ms: int, *, lag: int = 0, activity_lag: int = 0) -> tuple[int, ...]:
    store.decide(LIMITS, lag=lag, activity_lag=activity_lag, now_ms=now_ms)
    return counts(store)


def test_nothing_is_wanted_of_an_empty_catalog(store: ScalingStore) -> None:
    assert store.wanted() == {}
    assert decided(store, 5) == (0, 0, 0)
    assert store.next_due_ms() is None


@pytest.mark.parametrize(
    ("kind", "size", "expected"),
    [
        ("audience", 10, (1, 0, 1)),
        ("audience", 2 * WORKER_BYTES + 1, (3, 0, 1)),
        ("events", 10, (0, 1, 1)),
        ("profiles", WORKER_BYTES + 1, (0, 2, 1)),
        ("snapshot", None, (0, 1, 1)),
    ],
)
def test_live_job_wants_workers_of_its_group(
    store: ScalingStore, jobs: JobStore, kind: str, size: int | None, expected: tuple[int, ...]
) -> None:
    source = {"segment": "buyers"} if size is None else {"bucket": "inbox", "key": "k", "size": size}
    jobs.register(replace(new_job(), source=source, spec=KINDS.get(kind, ImportSpec())))
    assert decided(store, 10) == expected


def test_job_that_only_builds_needs_the_control_plane(store: ScalingStore, jobs: JobStore, database: Database) -> None:  # noqa: F811
    jobs.register(new_job())
    with database.write() as connection:
        connection.execute(sa.text("UPDATE jobs SET state = 'BUILDING'"))
    assert decided(store, LONG_AFTER) == (0, 0, 1)


def test_ended_job_wants_nothing_once_it_is_announced_and_idle(
    store: ScalingStore,
    jobs: JobStore,
    database: Database,  # noqa: F811
) -> None:
    jobs.register(new_job())
    assert decided(store, 2000) == (1, 0, 1)
    jobs.move(job_number(1), "CANCELLED", now_ms=3000)
    assert decided(store, 2000 + IDLE_MS - 1) == (1, 0, 1)
    assert decided(store, LONG_AFTER) == (0, 0, 1), "its end is not announced"
    with database.write() as connection:
        connection.execute(transitions.update().values(announced=True))
    assert decided(store, LONG_AFTER + IDLE_MS) == (0, 0, 0)


def test_decision_without_the_lag_stops_nothing(store: ScalingStore) -> None:
    assert decided(store, 5, lag=1, activity_lag=1) == (1, 1, 1)
    store.decide(LIMITS, now_ms=LONG_AFTER)
    assert counts(store) == (1, 1, 1)
    assert decided(store, LONG_AFTER) == (0, 0, 0)


def test_active_segment_keeps_one_segment_worker(store: ScalingStore, jobs: JobStore, database: Database) -> None:  # noqa: F811
    assert decided(store, 5, activity_lag=9_000_000) == (0, 4, 1)
    row = {"segment_id": AUDIENCE_ID, "tenant": ACME, "name": "buyers", "rule_version": 1}
    with database.write() as connection:
        connection.execute(segments.insert().values(**row, state="active", created_at_ms=1, updated_at_ms=1))
    assert decided(store, LONG_AFTER) == (0, 1, 1)
    with database.write() as connection:
        connection.execute(segments.update().values(state="paused"))
    assert decided(store, 2 * LONG_AFTER) == (0, 0, 0)


def test_pending_work_of_the_control_plane_wants_only_it(
    store: ScalingStore,
    jobs: JobStore,
    database: Database,  # noqa: F811
) -> None:
    hook = Recipient(channel="webhook", address="https://acme.example/x", tenant=ACME)
    [row] = Outbox(database).write("j", "ready", [hook], {}, now_ms=50)
    assert decided(store, 49) == (0, 0, 0)
    assert decided(store, 50) == (0, 0, 1)
    assert store.next_due_ms() == 50
    Outbox(database).delivered(row.notification_id, 60)
    assert decided(store, 60 + IDLE_MS) == (0, 0, 0)
    with database.write() as connection:
        schedule = {"schedule_id": "s", "tenant": ACME, "name": "n", "kind": "import", "expression": "rate(1 day)"}
        more = {"timezone": "UTC", "request": {}, "enabled": True, "created_at_ms": 1}
        connection.execute(schedules.insert().values(**schedule, **more, next_due_ms=LONG_AFTER))
    assert decided(store, LONG_AFTER - 1) == (0, 0, 0)
    assert store.next_due_ms() == LONG_AFTER
    assert decided(store, LONG_AFTER) == (0, 0, 1)


def test_count_is_due_until_it_is_applied_and_after_a_while_again(store: ScalingStore, jobs: JobStore) -> None:
    jobs.register(new_job())
    decision = store.decide(LIMITS, now_ms=1000)
    assert list(decision.of(decision.due).items()) == [
        (Scaled.WORKER, 1),
        (Scaled.SEGMENT_WORKER, 0),
        (Scaled.FEEDER, 0),
        (Scaled.RELAY, 1),
    ]
    store.applied(dict.fromkeys((Scaled.WORKER, Scaled.RELAY), 1), now_ms=1000)
    assert store.decide(LIMITS, now_ms=1001).due == {Scaled.SEGMENT_WORKER, Scaled.FEEDER}
    assert Scaled.WORKER in store.decide(LIMITS, now_ms=1000 + APPLIED_FRESH_MS).due


def test_count_that_changed_meanwhile_stays_due(store: ScalingStore, jobs: JobStore) -> None:
    store.decide(LIMITS, lag=0, activity_lag=0, now_ms=1)
    jobs.register(new_job())
    store.decide(LIMITS, now_ms=2)
    store.applied({Scaled.WORKER: 0}, now_ms=3)  # by one who decided before
    decision = store.decide(LIMITS, now_ms=4)
    assert Scaled.WORKER in decision.due
    assert decision.wanted[Scaled.WORKER] == Wanted(count=1, needed_ms=4, worked_ms=4)


def test_housekeeping_keeps_the_control_plane_for_one_idle_time(store: ScalingStore) -> None:
    store.decide(LIMITS, lag=0, activity_lag=0, other=1, now_ms=LONG_AFTER)
    assert counts(store) == (0, 0, 1)
    assert decided(store, LONG_AFTER + IDLE_MS - 1) == (0, 0, 1)
    assert decided(store, LONG_AFTER + IDLE_MS) == (0, 0, 0)


@pytest.mark.containers
def test_decision_waits_for_another_that_has_begun(
    empty_postgres_catalog: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one has read the work, and commits when a job is registered and decided for. SQLite has one writer."""
    catalog = Database(empty_postgres_catalog)
    store, read, begun = ScalingStore(catalog), scaling._demand, threading.Event()
    AudienceStore(catalog).add_tenant(ACME, 1)

    def slow(connection: sa.Connection, *arguments: Any) -> Demand:
        found = read(connection, *arguments)
        if not begun.is_set():
            begun.set()
            until(lambda: waits_for_a_decision(catalog), timeout_s=10)
        return found

    monkeypatch.setattr(scaling, "_demand", slow)
    threads = [threading.Thread(target=store.decide, args=(LIMITS,), kwargs={"now_ms": now}) for now in (2, 3)]
    threads[0].start()
    assert begun.wait(10)
    JobStore(catalog).register(new_job())
    threads[1].start()
    for thread in threads:
        thread.join()
    assert counts(store) == (1, 0, 1)
    catalog.close()


def waits_for_a_decision(catalog: Database) -> bool:
    query = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with catalog.read() as connection:
        return bool(connection.scalar(query))


def test_concurrent_decisions_lose_no_work(store: ScalingStore, jobs: JobStore) -> None:
    """Each registers, then decides; whoever decides last has seen all of them."""

    def register(number: int) -> None:
        size = {"bucket": "inbox", "key": str(number), "size": WORKER_BYTES}
        jobs.register(replace(new_job(number, str(number) * 64), source=size))
        store.decide(LIMITS, now_ms=2000)

    threads = [threading.Thread(target=register, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(store) == (4, 0, 1)


def test_counts_of_a_start_replace_those_of_before_and_stay_until_the_lag_is_known(store: ScalingStore) -> None:
    store.decide(LIMITS, lag=1, now_ms=LONG_AFTER)
    store.begin({Scaled.WORKER: 0, Scaled.RELAY: 1})
    assert store.wanted() == {Scaled.WORKER: Wanted(count=0), Scaled.RELAY: Wanted(count=1)}
    assert store.decide(LIMITS, now_ms=LONG_AFTER).wanted[Scaled.RELAY].count == 1
    assert store.decide(LIMITS, lag=0, activity_lag=0, now_ms=LONG_AFTER).wanted[Scaled.RELAY].count == 0


def test_held_segment_workers_stay_away_whatever_the_work_until_the_hold_ends(store: ScalingStore) -> None:
    assert decided(store, LONG_AFTER, activity_lag=5) == (0, 1, 1)
    store.hold_segment_workers(LONG_AFTER + 1000)
    assert decided(store, LONG_AFTER + 999, activity_lag=5) == (0, 0, 1)
    store.decide(replace(LIMITS, segment_workers=Range(least=1, most=2)), now_ms=LONG_AFTER + 999)
    assert counts(store) == (0, 0, 1), "without the lag and with a minimum, too"
    assert decided(store, LONG_AFTER + 1000, activity_lag=5) == (0, 1, 1)
    store.hold_segment_workers(LONG_AFTER + 9000)
    store.hold_segment_workers(0)
    assert decided(store, LONG_AFTER + 2000, activity_lag=5) == (0, 1, 1)


def test_a_hold_without_a_decision_before_it_holds(store: ScalingStore) -> None:
    store.hold_segment_workers(LONG_AFTER)
    assert decided(store, 1, activity_lag=5) == (0, 0, 1)
