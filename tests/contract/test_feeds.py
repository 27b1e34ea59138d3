"""Feeds in the catalog, on every database that may hold it."""

from dataclasses import replace

import pytest

from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.engine import Database
from orchestration.catalog.feed_records import Feed, FeedCut, HeldFeed, Refused
from orchestration.catalog.feeds import LEASE_MS, MAX_FEEDS, RESTORED_EPOCHS, FeedStore
from orchestration.catalog.scaling import ScalingStore
from schemas.errors import RetriableError, UserError
from schemas.ids import AudienceName, TenantName
from segmentation.feeds.positions import ANY, MEMBERS, CutPart, Position
from segmentation.scaling import Limits, Range, Scaled
from tests.contract.test_catalog import (  # noqa: F401  # fixtures
    ACME,
    audiences,
    database,
    job_number,
    url,
)

CRM = Feed(
    feed_id=job_number(1),
    tenant=ACME,
    name="crm",
    segment=AudienceName("buyers"),
    target="kafka://acme.buyers",
    shape="changes",
    start="all",
    author="ann",
    created_at_ms=1,
)
PART = CutPart(partition=0, part="s3://b/k", members=2, rule_version=1, at_us=9)
CUT = FeedCut(cut_id=job_number(7), parts=(PART,))
TROUBLE = RetriableError("KAFKA_UNAVAILABLE", "no broker")


@pytest.fixture
def store(database: Database, audiences: AudienceStore) -> FeedStore:  # noqa: F811
    made = FeedStore(database)
    made.add(CRM)
    return made


def any_revision(_: object) -> None:
    pass


def held(store: FeedStore, now_ms: int = 0, holder: str = "a") -> HeldFeed:
    [found] = store.claim(holder, (), now_ms, 10)
    return found


def advance(store: FeedStore, one: HeldFeed, positions: dict[int, Position], *, delivered: int = 1) -> bool:
    members = any(at.seq == MEMBERS for at in positions.values())
    return store.advance(one, positions, delivered=delivered, behind=4, members=members, now_ms=50)


def test_feed_is_found_by_its_name_in_its_tenant_alone(store: FeedStore) -> None:
    shown = store.get(ACME, "crm")
    assert (shown.to, shown.phase, shown.segment_state, shown.delivered) == (CRM.target, "waiting", "missing", 0)
    assert [one.name for one in store.page(ACME, limit=5)] == ["crm"]
    with pytest.raises(UserError, match="UNKNOWN_FEED"):
        store.get(TenantName("other"), "crm")
    with pytest.raises(UserError, match="FEED_EXISTS"):
        store.add(replace(CRM, feed_id=job_number(2)))


def test_tenant_has_a_limited_number_of_feeds(store: FeedStore) -> None:
    for number in range(2, MAX_FEEDS + 1):
        store.add(replace(CRM, feed_id=job_number(number), name=f"f{number}"))
    with pytest.raises(UserError, match="TOO_MANY_FEEDS"):
        store.add(replace(CRM, feed_id=job_number(999), name="last"))


def test_topic_of_states_takes_one_feed(store: FeedStore) -> None:
    with pytest.raises(UserError, match="FEED_TOPIC_TAKEN"):
        store.add(replace(CRM, feed_id=job_number(2), name="latest", shape="state"))


def test_lease_has_one_holder_until_it_runs_out(store: FeedStore) -> None:
    first = held(store)
    assert store.claim("b", (), LEASE_MS - 1, 10) == []
    second = held(store, LEASE_MS, "b")
    assert store.holding([first.lease, second.lease]) == {second.lease}
    assert not advance(store, first, {0: Position(5, 1, ANY)})
    assert advance(store, second, {0: Position(5, 1, ANY)})


def test_renewed_lease_lasts_and_a_released_one_is_free(store: FeedStore) -> None:
    first = held(store)
    store.renew([first.lease], LEASE_MS - 1)
    assert store.claim("b", (), LEASE_MS, 10) == []
    store.release(first)
    assert held(store, 1, "b").feed.name == "crm"


def test_process_of_the_same_name_takes_over_at_once_but_for_what_it_delivers(store: FeedStore) -> None:
    first = held(store)
    assert store.claim("a", [CRM.feed_id], 1, 10) == []
    second = held(store, 1)
    assert store.holding([first.lease, second.lease]) == {second.lease}


def test_beginning_with_members_keeps_its_cut_until_all_are_delivered(store: FeedStore) -> None:
    one = held(store)
    assert store.begin(one, "T", {0: Position(5, 1, MEMBERS)}, CUT)
    assert (store.get(ACME, "crm").phase, store.cuts()) == ("members", {CUT.cut_id})
    assert advance(store, one, {0: Position(5, 1, MEMBERS, 1)})
    store.release(one)
    again = held(store)
    assert (again.feed.cut, again.feed.topic_id, again.feed.positions) == (CUT, "T", {0: Position(5, 1, MEMBERS, 1)})
    assert advance(store, again, {0: Position(5, 1, ANY)}, delivered=2)
    assert store.cuts() == set()
    shown = store.get(ACME, "crm")
    assert (shown.phase, shown.delivered, shown.behind) == ("changes", 3, 4)


def test_trouble_lasts_until_something_is_recorded(store: FeedStore) -> None:
    one = held(store)
    store.put_trouble(one, TROUBLE, 20)
    store.put_trouble(one, TROUBLE, 30)
    shown = store.get(ACME, "crm")
    assert (shown.trouble, shown.trouble_since) == (
        {"code": "KAFKA_UNAVAILABLE", "message": "no broker"},
        "1970-01-01T00:00:00.020Z",
    )
    advance(store, one, {0: Position(5, 1, ANY)})
    assert store.get(ACME, "crm").trouble is None


def test_paused_feed_is_taken_from_its_holder_and_goes_on_where_it_was(store: FeedStore) -> None:
    one = held(store)
    advance(store, one, {0: Position(5, 1, ANY)})
    assert store.pause(ACME, "crm", any_revision).state == "paused"
    assert not advance(store, one, {0: Position(9, 1, ANY)})
    assert (store.claim("a", (), 10**9, 10), store.any_active()) == ([], False)
    assert store.resume(ACME, "crm", any_revision, skip=False).state == "active"
    assert held(store).feed.positions == {0: Position(5, 1, ANY)}


def test_halted_feed_is_resumed_without_what_was_refused(store: FeedStore) -> None:
    one = held(store)
    advance(store, one, {0: Position(5, 1, 0), 1: Position(6, 2, 0)})
    store.halt(one, UserError("REFUSED", "400"), Refused(events=7, after={1: Position(8, 2, 2)}), 60)
    shown = store.get(ACME, "crm")
    assert (shown.state, shown.refused, shown.trouble) == ("halted", 7, {"code": "REFUSED", "message": "400"})
    assert store.resume(ACME, "crm", any_revision, skip=True).refused is None
    assert held(store).feed.positions == {0: Position(5, 1, 0), 1: Position(8, 2, 2)}


def test_there_is_nothing_to_skip_unless_something_was_refused(store: FeedStore) -> None:
    with pytest.raises(UserError, match="NOTHING_TO_SKIP"):
        store.resume(ACME, "crm", any_revision, skip=True)


def test_feed_that_begins_again_has_another_epoch_and_no_position(store: FeedStore) -> None:
    one = held(store)
    store.begin(one, "T", {0: Position(5, 1, ANY)}, None)
    assert store.begin_again(one, TROUBLE, 9)
    second = held(store)
    assert (second.feed.epoch, second.feed.positions, second.feed.sends_members) == (2, None, True)
    assert store.rewind(ACME, "crm", any_revision).epoch == 3
    assert not store.begin(second, "T", {0: Position(5, 1, ANY)}, None)


def test_change_of_a_feed_that_was_changed_meanwhile_is_refused(store: FeedStore) -> None:
    def stale(_: object) -> None:
        raise UserError("STALE_ETAG", "it has changed")

    for change in (store.pause, store.rewind, store.delete):
        with pytest.raises(UserError, match="STALE_ETAG"):
            change(ACME, "crm", stale)
    assert store.get(ACME, "crm").state == "active"


def test_deleted_feed_is_taken_from_its_holder(store: FeedStore) -> None:
    one = held(store)
    assert store.delete(ACME, "crm", any_revision).name == "crm"
    assert not advance(store, one, {0: Position(5, 1, ANY)})
    assert store.page(ACME, limit=5) == []


def test_active_feed_wants_a_feeder(store: FeedStore, database: Database) -> None:  # noqa: F811
    counts = ScalingStore(database)
    limits = Limits(workers=Range(least=0, most=2), segment_workers=Range(least=0, most=2), idle_ms=1000)
    assert counts.decide(limits, now_ms=10).wanted[Scaled.FEEDER].count == 1
    store.pause(ACME, "crm", any_revision)
    assert counts.decide(limits, now_ms=2000).wanted[Scaled.FEEDER].count == 0


def test_restored_feeds_pause_and_begin_again_after_all_that_was_delivered(store: FeedStore) -> None:
    store.add(replace(CRM, feed_id=job_number(2), name="paused", state="paused"))
    one = held(store)
    store.begin(one, "T", {0: Position(5, 1, MEMBERS)}, CUT)
    assert store.restored() == ["acme/crm"]
    assert (store.get(ACME, "crm").state, store.cuts()) == ("paused", set())
    assert not advance(store, one, {0: Position(6, 1, 2)})
    store.resume(ACME, "crm", any_revision, skip=False)
    again = held(store, 1).feed
    assert again.positions is None
    assert [store.get(ACME, name).epoch for name in ("crm", "paused")] == [CRM.epoch + RESTORED_EPOCHS] * 2
