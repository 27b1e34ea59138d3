"""Schedules in the catalog, on every database that may hold it."""

import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.engine import Database
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.records import NewExport
from orchestration.catalog.schedules import Schedule, ScheduleStore
from schemas.errors import UserError
from schemas.ids import TenantName
from tests.contract.test_catalog import (  # noqa: F401  # fixtures
    ACME,
    AUDIENCE_ID,
    audiences,
    database,
    job_number,
    url,
)

NIGHTLY = Schedule(
    schedule_id=job_number(1),
    tenant=ACME,
    name="nightly",
    kind="import",
    expression="cron(0 6 * * ? *)",
    timezone="Europe/Berlin",
    request={"audience": "vip", "overrides": {"mode": "append"}},
    enabled=True,
    created_at_ms=1,
    next_due_ms=100,
)


@pytest.fixture
def store(database: Database, audiences: AudienceStore) -> ScheduleStore:  # noqa: F811
    return ScheduleStore(database)


def only(store: ScheduleStore) -> Schedule:
    [found] = store.all()
    return found


def record_run(store: ScheduleStore, *, seen_ms: int | None, due_ms: int = 100, next_due_ms: int | None = 200) -> bool:
    return store.record_run(
        NIGHTLY.schedule_id, seen_ms=seen_ms, due_ms=due_ms, execution=f"run-{due_ms}", next_due_ms=next_due_ms
    )


def test_schedule_round_trips(store: ScheduleStore) -> None:
    store.add(NIGHTLY)
    assert store.get(ACME, "nightly") == NIGHTLY
    assert store.all(TenantName("other")) == []
    assert only(store).times.text == NIGHTLY.expression


def test_schedule_names_are_unique_in_a_tenant(store: ScheduleStore) -> None:
    store.add(NIGHTLY)
    with pytest.raises(UserError, match="SCHEDULE_EXISTS"):
        store.add(replace(NIGHTLY, schedule_id=job_number(2)))
    assert only(store) == NIGHTLY


def test_missing_schedule_is_a_user_error(store: ScheduleStore) -> None:
    with pytest.raises(UserError, match="UNKNOWN_SCHEDULE"):
        store.get(ACME, "nightly")


def test_due_schedules_exclude_future_and_paused_ones(store: ScheduleStore) -> None:
    store.add(NIGHTLY)
    store.add(replace(NIGHTLY, schedule_id=job_number(2), name="paused", enabled=False))
    store.add(replace(NIGHTLY, schedule_id=job_number(3), name="over", next_due_ms=None))
    assert store.due(99) == []
    assert [s.name for s in store.due(100)] == ["nightly"]
    assert store.change(NIGHTLY, replace(NIGHTLY, enabled=False))
    paused = store.get(ACME, "paused")
    assert store.change(paused, replace(paused, enabled=True, next_due_ms=150))
    assert [s.name for s in store.due(150)] == ["paused"]


def test_run_is_recorded_by_one_of_two_concurrent_relays(store: ScheduleStore) -> None:
    store.add(NIGHTLY)
    barrier, noted = threading.Barrier(8), list[bool]()

    def note(number: int) -> None:
        barrier.wait()
        noted.append(record_run(store, seen_ms=100, next_due_ms=200 + number))

    threads = [threading.Thread(target=note, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(noted) == [False] * 7 + [True]


def test_end_of_a_run_is_kept_unless_another_has_started(store: ScheduleStore) -> None:
    store.add(NIGHTLY)
    assert store.without_outcome() == []
    assert record_run(store, seen_ms=100)
    assert [s.last_execution for s in store.without_outcome()] == ["run-100"]
    assert record_run(store, seen_ms=200, due_ms=200, next_due_ms=None)
    assert not store.record_outcome(NIGHTLY.schedule_id, 100, {"job": job_number(7)})
    assert store.record_outcome(NIGHTLY.schedule_id, 200, {"job": job_number(8)})
    assert store.without_outcome() == []
    assert (only(store).last_outcome, only(store).next_due_ms) == ({"job": job_number(8)}, None)
    assert record_run(store, seen_ms=None, due_ms=300, next_due_ms=None)  # started by hand, never due again
    assert only(store).last_outcome is None


def test_reason_of_a_failed_start_is_kept_until_a_run_starts(store: ScheduleStore) -> None:
    store.add(NIGHTLY)
    assert store.put_trouble(NIGHTLY.schedule_id, 100, {"code": "ENGINE_UNAVAILABLE"})
    assert only(store).trouble == {"code": "ENGINE_UNAVAILABLE"}
    assert not store.put_trouble(NIGHTLY.schedule_id, 99, {"code": "LATE"})
    record_run(store, seen_ms=100)
    assert only(store).trouble is None


def test_edit_requires_the_seen_revision_and_keeps_recorded_runs(store: ScheduleStore) -> None:
    store.add(NIGHTLY)
    record_run(store, seen_ms=100)
    store.put_trouble(NIGHTLY.schedule_id, 200, {"code": "ENGINE_UNAVAILABLE"})
    edited = replace(NIGHTLY, request={**NIGHTLY.request, "key": "other.csv"})
    assert store.change(NIGHTLY, edited)
    assert (only(store).request, only(store).trouble) == (edited.request, None)
    assert (only(store).next_due_ms, only(store).last_due_ms) == (200, 100)
    assert not store.change(NIGHTLY, replace(NIGHTLY, expression="rate(1 hour)", next_due_ms=7))
    assert store.change(edited, replace(edited, expression="rate(1 hour)", next_due_ms=300))
    assert (only(store).expression, only(store).next_due_ms) == ("rate(1 hour)", 300)


def test_schedule_deleted_during_a_run_remains_deleted(store: ScheduleStore) -> None:
    store.add(NIGHTLY)
    assert not store.delete(replace(NIGHTLY, timezone="UTC"))  # what was seen is no longer so
    assert store.delete(NIGHTLY)
    assert not record_run(store, seen_ms=100)
    assert not store.record_outcome(NIGHTLY.schedule_id, 100, {"job": job_number(7)})
    assert not store.change(NIGHTLY, NIGHTLY)
    assert not store.delete(NIGHTLY)
    assert store.all() == []


def test_a_schedule_continues_from_the_complete_export_of_the_highest_version(
    store: ScheduleStore,
    database: Database,  # noqa: F811
) -> None:
    exports = ExportStore(database)
    mine, other = NIGHTLY.schedule_id, job_number(2)
    for number, (schedule, version, ready) in enumerate(
        [(mine, 3, True), (mine, 2, True), (mine, 4, False), (other, 5, True), (None, 6, True)], 10
    ):
        export_id = job_number(number)
        exports.register(
            NewExport(
                job_id=export_id,
                tenant=ACME,
                audience="vip",
                audience_id=AUDIENCE_ID,
                request={"schedule": schedule},
                leases=(),
                execution=None,
                retry_of=None,
                created_at_ms=1,
            )
        )
        exports.move(export_id, "WRITING", now_ms=2)
        if ready:
            exports.move(export_id, "FINISHING", now_ms=3)
            exports.move(export_id, "READY", now_ms=4, outcome={"version": version})
    found = exports.last_delivered(AUDIENCE_ID, schedule_id=mine)
    assert found is not None
    assert found.outcome == {"version": 3}
    assert exports.last_delivered(job_number(3), schedule_id=mine) is None
    assert exports.last_delivered(AUDIENCE_ID, schedule_id=job_number(4)) is None


def test_schedule_requires_an_existing_tenant(store: ScheduleStore, database: Database) -> None:  # noqa: F811
    with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO schedules (schedule_id, tenant, name, kind, expression, timezone, request, enabled,"
                " created_at_ms) VALUES ('x', 'nobody', 'n', 'import', 'e', 'UTC', '{}', true, 1)"
            )
        )
