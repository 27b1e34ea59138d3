"""Outbox, audit trail and dump of the catalog, on every database that may hold it."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyiceberg.catalog.sql import SqlCatalog

from orchestration.catalog import copying, migrate
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.audit import AuditEntry, AuditTrail
from orchestration.catalog.dead_letter_marks import KEPT_MS, DeadLetterMark, DeadLetterMarks, SentLetter
from orchestration.catalog.engine import Database
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.records import Job
from orchestration.catalog.samples import GroupState, SampleStore, TopicSample
from orchestration.notifications.outbox import Outbox
from orchestration.notifications.recipients import Recipient, RecipientStore
from orchestration.platform.settings import Secret
from tests.contract.test_catalog import (  # noqa: F401  # fixtures
    ACME,
    database,
    job_number,
    new_job,
    url,
)
from tests.fakes.catalog import migrated

HOOK = Recipient(channel="webhook", address="https://acme.example/x", tenant=ACME)
SAMPLE = TopicSample(at_ms=10_000, group="g", topic="t", members=2, lag=5, acknowledged=10, sent=15)
OLD_AND_NEW = {"delivered, old": 9, "given up, old": 9, "waiting, old": 9, "delivered, new": 10, "given up, new": 10}
ENTRY = AuditEntry(
    entry_id=job_number(9), at_ms=5, actor="alice", action="import", object="acme/vip", arguments={"mode": "append"}
)


def test_a_notification_is_written_once_and_claimed_by_one(database: Database) -> None:  # noqa: F811
    outbox = Outbox(database)
    [row] = outbox.write("j", "ready", [HOOK], {"job": "j"}, now_ms=1)
    assert outbox.write("j", "ready", [HOOK], {"job": "another body"}, now_ms=2) == []
    assert outbox.by_subject("j") == [row]
    assert row.body == {"id": row.notification_id, "job": "j"}
    assert [outbox.claim(row, 10), outbox.claim(row, 10)] == [True, False]
    assert outbox.due(60_009) == []
    [again] = outbox.due(60_010)
    outbox.delivered(again.notification_id, 11)
    outbox.failed(again.notification_id, "too late", 12)
    assert [(r.state, r.last_error) for r in outbox.by_subject("j")] == [("delivered", None)]


def test_old_settled_notifications_are_purged_and_waiting_ones_kept(
    database: Database,  # noqa: F811
) -> None:
    outbox = Outbox(database)
    rows = {name: outbox.write(name, "ready", [HOOK], {}, now_ms=at)[0] for name, at in OLD_AND_NEW.items()}
    for name, row in rows.items():
        if name.startswith("delivered"):
            outbox.delivered(row.notification_id, 11)
        elif name.startswith("given up"):
            outbox.failed(row.notification_id, "refused", None)
    assert outbox.forget(written_before_ms=10) == 2
    assert [name for name in OLD_AND_NEW if outbox.by_subject(name)] == [
        "waiting, old",
        "delivered, new",
        "given up, new",
    ]


def test_a_commit_of_any_process_changes_the_version_of_the_catalog_and_a_query_does_not(
    database: Database,  # noqa: F811
    url: Secret,  # noqa: F811
) -> None:
    def settled() -> object:
        """The version, once PostgreSQL does nothing of its own accord."""
        while (before := database.version()) != database.version():
            pass
        return before

    other = Database(url)
    versions = [settled()]
    for writer in (database, other):
        Outbox(writer).write(f"{len(versions)}", "ready", [HOOK], {}, now_ms=1)
        versions.append(settled())
    assert len(set(versions)) == 3
    assert any(Outbox(other).due(1) and settled() == versions[-1] for _ in range(100))
    other.close()


def test_jobs_without_a_notification_are_found(database: Database) -> None:  # noqa: F811
    jobs, outbox = JobStore(database), Outbox(database)
    for number in (1, 2):
        jobs.register(new_job(number, f"{number:064}"))
        for state in ("VERIFYING", "IMPORTING", "AWAITING", "PUBLISHING", "READY"):
            jobs.move(job_number(number), state, now_ms=50)
    outbox.write(job_number(1), "ready", [HOOK], {}, now_ms=51)
    assert outbox.unnotified(finished_before_ms=50, finished_after_ms=50) == [job_number(2)]
    assert outbox.unnotified(finished_before_ms=49, finished_after_ms=0) == []


def test_audit_trail_is_immutable(database: Database) -> None:  # noqa: F811
    trail = AuditTrail(database)
    trail.append(ENTRY)
    for statement in ("UPDATE audit SET actor = 'bob'", "DELETE FROM audit"):
        with pytest.raises(sa.exc.DBAPIError, match="append only"), database.write() as connection:
            connection.execute(sa.text(statement))
    assert trail.search(object_="acme/vip", since_ms=5) == [ENTRY]
    assert trail.search(since_ms=6) == []


def contents(database: Database) -> tuple[Job, list[Recipient], list[AuditEntry]]:  # noqa: F811
    job = JobStore(database).get(job_number(1))
    return job, RecipientStore(database).notified(ACME, None), AuditTrail(database).search()


def leave_a_namespace(url: Secret) -> None:  # noqa: F811
    """Leave what Iceberg's catalog keeps of a tenant, even after its last audience is gone."""
    catalog = SqlCatalog("muster", uri=url.reveal())
    catalog.create_namespace_if_not_exists(ACME)
    catalog.engine.dispose()


def test_dump_is_complete_and_loads_into_an_empty_catalog_of_either_kind(
    url: Secret,  # noqa: F811
    database: Database,  # noqa: F811
    tmp_path: Path,
) -> None:
    jobs = JobStore(database)
    AudienceStore(database).add_tenant(ACME, 1)
    RecipientStore(database).replace(ACME, None, {"webhook": [HOOK.address]})
    jobs.register(new_job())
    AuditTrail(database).append(ENTRY)
    leave_a_namespace(url)
    copying.dump(url, tmp_path / "dump.sqlite")
    to = Secret(f"sqlite:///{tmp_path / 'to.db'}")
    migrated(to)
    loaded = Database(to)
    copying.load(tmp_path / "dump.sqlite", loaded)
    job = jobs.get(job_number(1))
    assert contents(loaded) == (job, [HOOK], [ENTRY])
    loaded.close()

    migrate.downgrade(url, "base")
    migrate.upgrade(url)
    assert copying.is_empty(database)
    leave_a_namespace(url)
    copying.load(tmp_path / "dump.sqlite", database)
    assert contents(database) == (job, [HOOK], [ENTRY])
    assert not copying.is_empty(database)


def test_worst_sample_of_a_step_counts_and_a_repeated_one_replaces_the_first(
    database: Database,  # noqa: F811
) -> None:
    store, first = SampleStore(database), SAMPLE
    for one in (replace(first, lag=7), first, replace(first, at_ms=20_000, members=0, acknowledged=30, sent=30)):
        state = GroupState(group=one.group, at_ms=one.at_ms, workers=[{"pid": one.at_ms}], lag={"t": [one.lag]})
        store.put([one, replace(one, topic="u")], [state], now_ms=1)
    assert [(one.topic, one.at_ms, one.lag) for one in store.since(0, step_ms=10_000)] == [
        ("t", 10_000, 5),
        ("u", 10_000, 5),
        ("t", 20_000, 5),
        ("u", 20_000, 5),
    ]
    worst = replace(first, at_ms=20_000, members=0, acknowledged=30, sent=30)
    assert store.since(0, step_ms=60_000) == [worst, replace(worst, topic="u")]
    assert [one.at_ms for one in store.since(10_001, step_ms=10_000)] == [20_000] * 2
    assert store.groups() == [GroupState(group="g", at_ms=20_000, workers=[{"pid": 20_000}], lag={"t": [5]})]


def test_dead_letter_is_claimed_once_and_old_marks_are_deleted(
    database: Database,  # noqa: F811
) -> None:
    marks, sent = DeadLetterMarks(database), SentLetter(dead_letter=1, topic="events", partition=3, offset=9)
    take = partial(marks.take, "t", principal="ann", now_ms=5)
    assert take([2, 1], "replaying", named=False) == [1, 2]
    assert take([1, 2, 3], "dismissed", named=True) == [3]
    marks.replayed("t", [sent], now_ms=6)
    marks.give_back("t", [1, 2, 3], unsent=False)
    replayed = DeadLetterMark(
        state="replayed", at_ms=6, principal="ann", sent_topic="events", sent_partition=3, sent_offset=9
    )
    assert marks.of("t", since=1)[1] == replayed
    assert [one.state for one in marks.of("t").values()] == ["replayed", "interrupted", "dismissed"]
    assert (marks.of("t", since=4), marks.of("u")) == ({}, {})
    assert take([1, 2, 3], "replaying", named=False) == []
    assert take([1, 2, 3], "replaying", named=True) == [2, 3]
    marks.give_back("t", [2, 3], unsent=True)
    assert list(marks.of("t")) == [1]
    assert marks.take("t", [4], "dismissed", principal="ann", now_ms=KEPT_MS + 7, named=False) == [4]
    assert list(marks.of("t")) == [4]
