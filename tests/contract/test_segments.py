"""Segments in the catalog, on every database that may hold it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.catalog import copying, migrate
from orchestration.catalog import segments as segments_module
from orchestration.catalog.activations import ActivationStore
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.engine import Database
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.segment_records import Segment
from orchestration.catalog.segments import NewRule, SegmentStore
from orchestration.platform.settings import Secret
from schemas.errors import UserError
from schemas.ids import AudienceName, Partition, TenantName, Version
from schemas.segment_messages import RuleActivated, SegmentDeleted, SegmentPaused, SegmentStatus
from segmentation.rules.parser import parse_rule
from segmentation.rules.record_reader import rule_from_json
from tests.contract.test_catalog import (  # noqa: F401  # fixtures
    ACME,
    AUDIENCE_ID,
    VIP,
    audiences,
    database,
    job_number,
    new_job,
    url,
)
from tests.fakes.catalog import migrated
from tests.fakes.rules import new_rule

BUYERS, LOYAL = AudienceName("buyers"), AudienceName("loyal")


@pytest.fixture
def store(database: Database, audiences: AudienceStore) -> SegmentStore:  # noqa: F811
    return SegmentStore(database)


@pytest.fixture
def outbox(database: Database) -> ActivationStore:  # noqa: F811
    return ActivationStore(database)


def create(store: SegmentStore, name: str = BUYERS, text: str = "ever(purchase)", number: int = 1) -> Segment:
    store.create(ACME, AudienceName(name), new_rule(text), new_id=job_number(number), author="ann", now_ms=10 * number)
    return store.get(ACME, AudienceName(name))


def status(segment: str = BUYERS, partition: int = 0, **given: object) -> SegmentStatus:
    values: dict[str, Any] = {
        "rule_version": 1,
        "partitions": 2,
        "members": 5,
        "at_us": 100,
        "events": 3,
        "profiles": 4,
    }
    values |= {"activations": 1, "paused": False, **given}
    return SegmentStatus(tenant=ACME, segment=AudienceName(segment), partition=Partition(partition), **values)


def test_segment_round_trips_with_its_rule(store: SegmentStore) -> None:
    made = create(store, text="count(purchase where amount >= 2.5, 3d) >= 2")
    [overview] = store.overviews(ACME)
    assert (overview.segment, overview.partitions) == (made, {})
    assert overview.rule.parsed == parse_rule("count(purchase where amount >= 2.5, 3d) >= 2")
    assert (overview.rule.version, overview.rule.author, overview.rule.created_at_ms) == (1, "ann", 10)
    assert store.overviews(TenantName("other")) == []


def test_edited_rule_is_a_new_version(store: SegmentStore) -> None:
    first = create(store)
    for text, at in (("never(purchase)", 20), ("(never(purchase))", 30)):
        store.edit(ACME, BUYERS, new_rule(text), author="bob", now_ms=at)
        assert store.get(ACME, BUYERS) == replace(first, rule_version=2, updated_at_ms=20)
    assert [(v.version, v.text, v.author) for v in store.versions(first.segment_id)] == [
        (1, "ever(purchase)", "ann"),
        (2, "never(purchase)", "bob"),
    ]


def test_segments_and_audiences_share_one_namespace(store: SegmentStore, audiences: AudienceStore) -> None:  # noqa: F811
    audiences.ensure(ACME, VIP, new_id=job_number(7), now_ms=1)
    with pytest.raises(UserError, match="NAME_TAKEN: tenant acme already has an audience 'vip'"):
        create(store, VIP)
    create(store)
    with pytest.raises(UserError, match="NAME_TAKEN: tenant acme already has a segment 'buyers'"):
        audiences.ensure(ACME, BUYERS, new_id=job_number(8), now_ms=1)
    with pytest.raises(UserError, match="NAME_TAKEN"):
        audiences.rename(job_number(7), ACME, BUYERS)
    with pytest.raises(UserError, match="SEGMENT_EXISTS"):
        create(store, number=2)
    store.delete(ACME, BUYERS, now_ms=30)
    audiences.rename(job_number(7), ACME, BUYERS)
    with pytest.raises(UserError, match="NAME_TAKEN"):
        create(store, number=2)


def test_segment_can_take_the_name_of_an_abandoned_awaited_audience(
    database: Database,  # noqa: F811
    store: SegmentStore,
    audiences: AudienceStore,  # noqa: F811
) -> None:
    jobs = JobStore(database)
    awaited = audiences.for_import(ACME, VIP, new_id=AUDIENCE_ID, now_ms=1)
    with pytest.raises(UserError, match="this audience does not exist"):
        create(store, LOYAL, "in audience vip")
    jobs.register(new_job())
    with pytest.raises(UserError, match="NAME_TAKEN: an import into the new audience 'vip' of tenant acme is running"):
        create(store, VIP)
    jobs.move(job_number(1), "CANCELLED", now_ms=2)
    create(store, VIP)
    with pytest.raises(UserError, match="NAME_TAKEN: tenant acme already has a segment 'vip'"):
        audiences.for_import(ACME, VIP, new_id=AUDIENCE_ID, now_ms=3)
    with pytest.raises(UserError, match="NAME_TAKEN: tenant acme already has a segment 'vip'"):
        audiences.check_publishable(awaited.audience_id)


def test_concurrent_creation_of_audience_and_segment_with_one_name_makes_one(
    database: Database,  # noqa: F811
    store: SegmentStore,
    audiences: AudienceStore,  # noqa: F811
) -> None:
    barrier, refused = threading.Barrier(8), list[str]()

    def make(number: int) -> None:
        barrier.wait()
        try:
            if number % 2:
                create(store, number=number)
            else:
                audiences.ensure(ACME, BUYERS, new_id=job_number(number), now_ms=1)
        except UserError as exc:
            refused.append(exc.code)

    threads = [threading.Thread(target=make, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.overviews(ACME)) + len(audiences.all(ACME)) == 1
    assert set(refused) <= {"NAME_TAKEN", "SEGMENT_EXISTS"}


def test_rule_references_exist_and_are_acyclic(store: SegmentStore, audiences: AudienceStore) -> None:  # noqa: F811
    audiences.ensure(ACME, VIP, new_id=job_number(7), now_ms=1)
    with pytest.raises(UserError, match="UNKNOWN_AUDIENCE: at character 13: the rule says `in audience loyal`"):
        create(store, text="in audience loyal")
    with pytest.raises(UserError, match=r"UNKNOWN_SEGMENT.*vip is an audience: write `in audience vip`"):
        create(store, text="in segment vip")
    create(store, text="in audience vip")
    snapshot = r"`muster segments snapshot buyers --wait`.* audience buyers-snapshot, .*segment\('buyers'\)"
    with pytest.raises(UserError, match=f"UNKNOWN_AUDIENCE.* a segment of that name: {snapshot}"):
        audiences.get(ACME, BUYERS)
    store.pause(ACME, BUYERS, now_ms=20)
    resume = "`muster segments resume buyers`, then "
    with pytest.raises(UserError, match=f"UNKNOWN_AUDIENCE.* a paused segment of that name: {resume}{snapshot}"):
        audiences.get(ACME, BUYERS)
    store.resume(ACME, BUYERS, now_ms=21)
    create(store, LOYAL, "in segment buyers", 2)
    with pytest.raises(UserError, match=r"SEGMENT_CYCLE.*buyers -> loyal -> buyers"):
        store.edit(ACME, BUYERS, new_rule("in segment loyal"), author="ann", now_ms=30)
    with pytest.raises(UserError, match=r"SEGMENT_CYCLE.*own -> own"):
        create(store, "own", "in segment own", 3)
    assert [s.segment.name for s in store.overviews(ACME)] == ["buyers", "loyal"]
    assert store.get(ACME, BUYERS).rule_version == 1


def test_referenced_segment_cannot_be_deleted(store: SegmentStore, outbox: ActivationStore) -> None:
    create(store)
    create(store, LOYAL, "ever(visit) or in segment buyers", 2)
    with pytest.raises(UserError, match="SEGMENT_IN_USE: the rules of these segments refer to buyers: loyal"):
        store.delete(ACME, BUYERS, now_ms=30)
    store.delete(ACME, LOYAL, now_ms=30)
    store.delete(ACME, BUYERS, now_ms=40)
    with pytest.raises(UserError, match="UNKNOWN_SEGMENT"):
        store.get(ACME, BUYERS)
    assert [one.kind for one in outbox.unsent()] == ["activate", "activate", "delete", "delete"]


def test_reused_segment_name_continues_its_versions(store: SegmentStore) -> None:
    first = create(store)
    store.delete(ACME, BUYERS, now_ms=20)
    again = create(store, text="ever(visit)", number=3)
    assert (again.segment_id, again.rule_version, again.state) == (first.segment_id, 2, "active")


def test_announcements_follow_the_order_of_changes(store: SegmentStore, outbox: ActivationStore) -> None:
    create(store)
    for turn in (store.pause, store.pause, store.resume, store.delete):
        turn(ACME, BUYERS, now_ms=20)
    messages = [one.message for one in outbox.unsent()]
    assert [type(message) for message in messages] == [RuleActivated, SegmentPaused, RuleActivated, SegmentDeleted]
    assert {message.rule_version for message in messages} == {1}
    assert isinstance(messages[0], RuleActivated)
    assert rule_from_json(messages[0].rule.encode()) == parse_rule("ever(purchase)")
    outbox.mark_sent(outbox.unsent()[0], [7, 8], 30)
    assert [one.sequence for one in outbox.unsent()] == [2, 3, 4]


def test_workers_are_up_to_date_once_nothing_of_the_tenant_waits(
    store: SegmentStore,
    outbox: ActivationStore,
    audiences: AudienceStore,  # noqa: F811
) -> None:
    assert outbox.all_sent(ACME)
    create(store)
    assert (outbox.all_sent(ACME), outbox.all_sent(TenantName("other"))) == (False, True)
    outbox.mark_sent(outbox.unsent()[0], [7, 8], 30)
    assert outbox.all_sent(ACME)
    vip = audiences.ensure(ACME, VIP, new_id=job_number(9), now_ms=1)
    outbox.choose(vip.audience_id, Version(1), None)
    assert not outbox.all_sent(ACME)
    outbox.mark_audience_sent(vip.audience_id, Version(1))
    assert outbox.all_sent(ACME)


def test_paused_segment_cannot_be_edited(store: SegmentStore) -> None:
    create(store)
    store.pause(ACME, BUYERS, now_ms=20)
    with pytest.raises(UserError, match="SEGMENT_PAUSED"):
        store.edit(ACME, BUYERS, new_rule("never(purchase)"), author="ann", now_ms=30)


def test_segments_in_a_backup_of_0_2_0_are_restored_and_edited(
    store: SegmentStore,
    outbox: ActivationStore,
    url: Secret,  # noqa: F811
    tmp_path: Path,
) -> None:
    create(store, text="count(purchase, 7d) >= 2 and not age >= 25")
    create(store, LOYAL, "in segment buyers or first(purchase) < 2026-11-01T00:00:00Z", 2)
    store.put_statuses([status(), status(partition=1)])
    file, later = tmp_path / "dump.sqlite", tmp_path / "later.sqlite"
    copying.dump(url, file)
    migrate.downgrade(Secret(f"sqlite:///{file}"), "0012")
    with loaded(file, tmp_path / "restored.db") as database:  # noqa: F811
        restored = SegmentStore(database)
        assert restored.overviews(ACME) == store.overviews(ACME)
        assert ActivationStore(database).unsent() == outbox.unsent()
        asked = {
            BUYERS: "sequence(add_to_cart then not purchase within 1d same product_id, 7d) or expires > now",
            LOYAL: "rule 2: in segment buyers and sum(amount of purchase, 30d) >= 100.5 and split(winter) >= 5",
        }
        for name, text in asked.items():
            rule = NewRule(text=text, timezone="UTC", rule=parse_rule(text, timezone="UTC"))
            restored.edit(ACME, name, rule, author="ann", now_ms=30)
        copying.dump(Secret(f"sqlite:///{tmp_path / 'restored.db'}"), later)
        with loaded(later, tmp_path / "again.db") as again:
            assert SegmentStore(again).overviews(ACME) == restored.overviews(ACME)
            assert ActivationStore(again).unsent() == ActivationStore(database).unsent()


@contextmanager
def loaded(dump: Path, file: Path) -> Iterator[Database]:
    """An empty catalog that takes over a dump."""
    to = Secret(f"sqlite:///{file}")
    migrated(to)
    database = Database(to)  # noqa: F811
    copying.load(dump, database)
    yield database
    database.close()


def test_segments_of_a_tenant_are_limited(store: SegmentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments_module, "MAX_SEGMENTS", 1)
    create(store)
    with pytest.raises(UserError, match="TOO_MANY_SEGMENTS"):
        create(store, LOYAL, number=2)


def test_latest_status_of_each_partition_is_kept(store: SegmentStore) -> None:
    segment_id = create(store).segment_id
    store.put_statuses([status(at_us=200, members=6), status(at_us=100), status(partition=1), status("unknown")])
    store.put_statuses([status(at_us=150, members=9)])
    store.put_statuses([status(at_us=200, members=6)])
    found = store.partitions(segment_id)
    assert {p: (one.members, one.at_us) for p, one in found.items()} == {0: (6, 200), 1: (5, 100)}
    assert store.overviews()[0].partitions == found


def test_size_is_kept_for_each_hour_that_all_partitions_have_reported(store: SegmentStore) -> None:
    hour = 3_600_000_000
    create(store)
    store.put_statuses([status(at_us=hour, members=6)])
    assert store.sizes(ACME, BUYERS, since_ms=0) == []  # one of two partitions
    store.put_statuses([status(partition=1, at_us=hour + 7), status(at_us=hour + 9, members=7)])
    store.edit(ACME, BUYERS, new_rule("never(purchase)"), author="ann", now_ms=20)
    store.put_statuses([status(at_us=2 * hour, members=90, rule_version=2)])  # evaluated in one of two
    store.put_statuses([status(at_us=4 * hour, members=80, rule_version=2), status(partition=1, at_us=3 * hour)])
    store.put_statuses([status(partition=1, at_us=5 * hour, members=1, rule_version=2)])
    sizes = store.sizes(ACME, BUYERS, since_ms=0)
    assert [(one.hour[11:16], one.members, one.rule_version) for one in sizes] == [("01:00", 12, 1), ("04:00", 81, 2)]
    assert [one.members for one in store.sizes(ACME, BUYERS, since_ms=2 * hour // 1000)] == [81]
    day = 24 * hour
    store.put_statuses([status(partition=p, at_us=90 * day + 4 * hour, members=0, rule_version=2) for p in (0, 1)])
    assert [one.members for one in store.sizes(ACME, BUYERS, since_ms=0)] == [81, 0]
    with pytest.raises(UserError, match="UNKNOWN_SEGMENT"):
        store.sizes(ACME, LOYAL, since_ms=0)


def test_segment_that_differs_at_a_worker_is_announced_again(store: SegmentStore, outbox: ActivationStore) -> None:
    create(store)
    store.pause(ACME, BUYERS, now_ms=20)
    paused = store.get(ACME, BUYERS)
    first, second = outbox.unsent()
    outbox.mark_sent(first, [4, 4], 30)
    store.put_statuses([status(activations=5, at_us=1)])
    assert outbox.contradicted() == []  # the activation is not sent yet
    outbox.mark_sent(second, [5, 5], 30)
    assert outbox.contradicted() == []  # the worker has not read it yet
    store.put_statuses([status(activations=7, at_us=2), status(partition=1, activations=7, paused=True, at_us=2)])
    assert outbox.contradicted() == [paused]
    outbox.resend(paused, 40)
    assert [one.kind for one in outbox.unsent()] == ["pause"]
    assert outbox.contradicted() == []
    outbox.resend(replace(paused, updated_at_ms=1), 50)  # the segment has changed meanwhile
    assert len(outbox.unsent()) == 1


def test_audience_version_of_the_workers_and_its_predecessor_are_kept(
    outbox: ActivationStore,
    audiences: AudienceStore,  # noqa: F811
) -> None:
    audience_id = audiences.ensure(ACME, VIP, new_id=job_number(7), now_ms=1).audience_id
    audiences.pin(audience_id, Version(1), 1)
    outbox.choose(audience_id, Version(4), None)
    outbox.choose(audience_id, Version(5), Version(4))
    assert audiences.retained(audience_id) == {1, 4, 5}
    outbox.mark_audience_sent(audience_id, Version(4))
    found = outbox.audience(audience_id)
    assert found is not None
    assert (found.version, found.earlier, found.told) == (5, 4, False)
    outbox.mark_audience_sent(audience_id, Version(5))
    outbox.forget_all_but(ACME, [VIP])
    assert audiences.retained(audience_id) == {1, 4, 5}
    outbox.forget_all_but(ACME, [])
    assert audiences.retained(audience_id) == {1}
    assert outbox.audience(audience_id) is None
