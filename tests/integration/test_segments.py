"""Segments on a real broker, S3 and catalog, each promise once.

A worker is killed, records are misplaced, hostile or in transactions, topics are lost. One worker serves all tests,
unless a test ends it. Deaths at every other point are those of the in-memory partition task
(tests/property/test_segment_owners.py); `make test-faults` runs the same at length, with random kills.
"""

import json
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.cli.main import main
from orchestration.composition import administration
from orchestration.composition.context import Context
from orchestration.control import archive_consumer as archiving
from orchestration.operations import rebase
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Settings
from schemas.codec import CODEC
from schemas.errors import UserError
from schemas.ids import AudienceName, TenantName
from schemas.messages import DeadLetter
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES, SEGMENT_WORKER_GROUP
from tests.conftest import StartStack
from tests.fakes.feeds import Receiver
from tests.fakes.rules import new_rule
from tests.integration.feed_shop import FollowedFeed, ShopFeed, StateTopic, feeder
from tests.integration.hostile_records import MB, Sender, wide_rows
from tests.integration.misplaced_records import USERS as PLACED
from tests.integration.misplaced_records import PlacingShop, results
from tests.integration.quick import DIES_AT, QUICK_S
from tests.integration.quick_segment_worker import EMITTED_BEHIND_CHECKPOINTS
from tests.integration.segment_shop import Shop, assert_followed, recreate, relay_of_segments
from tests.integration.transactional_shop import (
    USERS,
    TransactionalShop,
    assert_all_acknowledged,
    assert_waits,
    in_transaction,
)
from tests.integration.workers import Workers, dead_letters, end_sessions, member_ids
from tests.servers.webhooks import receiver
from tests.waiting import until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("kept_readers"),
    pytest.mark.timeout(400),
]
P = 2
SESSION = {"MUSTER_WORKER_SESSION_TIMEOUT_S": "30"}
"""A worker removed from the group for being slow would read again, and count twice."""
OFTEN = {"MUSTER_SEGMENT_CHECKPOINT_S": "1"}


@pytest.fixture(scope="module")
def settings(start_module_stack: StartStack) -> Iterator[Settings]:
    """A broker, S3 and a catalog, with the threads of a control plane."""
    made = start_module_stack(parts=("kafka", "s3", "catalog"), partitions=P)
    with pytest.MonkeyPatch.context() as patch, relay_of_segments(Context(made)):
        patch.setattr(archiving, "LINGER_S", QUICK_S)
        yield made


@pytest.fixture(scope="module")
def all_workers(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    running = Workers(settings, tmp_path_factory.mktemp("workers"), "tests.integration.quick_segment_worker")
    yield running
    running.close()


@pytest.fixture
def workers(settings: Settings, all_workers: Workers) -> Workers:
    """Worker `a` runs and has its partitions."""
    if not all_workers.runs("a"):
        start(settings, all_workers)
    return all_workers


def start(settings: Settings, workers: Workers, **extra: str) -> None:
    begun = workers.log("a").count("assigned partitions=")
    workers.start("a", **SESSION, **OFTEN, **extra)
    until(lambda: workers.log("a").count("assigned partitions=") > begun)


@pytest.mark.slow("a worker is killed, and its successor waits until the session is over")
def test_killed_worker_resumes_from_its_checkpoint_without_loss_or_duplicates(
    settings: Settings, stopped: Workers
) -> None:
    shop, workers = Shop(settings), stopped
    shop.create("buyers", "count(order, 30d) >= 2")
    shop.create("calm", "never(refund)")
    shop.create("grown-buyers", "in segment buyers and age >= 25")
    restarts, checkpoints = workers.restarts, workers.log("a").count("wrote a checkpoint")
    start(settings, workers, **{DIES_AT: EMITTED_BEHIND_CHECKPOINTS})
    members = member_ids(settings, SEGMENT_WORKER_GROUP)
    shop.send(300)
    until(lambda: workers.log("a").count("wrote a checkpoint") >= checkpoints + P)
    shop.edit("buyers", "count(order, 30d) >= 3")
    shop.send(300)
    until(lambda: workers.restarts == restarts + 1)
    end_sessions(settings, SEGMENT_WORKER_GROUP, members)
    buyers = shop.ordered(3)
    expected = {
        "buyers": buyers,
        "calm": shop.known - shop.refunded,
        "grown-buyers": {user for user in buyers if shop.ages.get(user, 0) >= 25},
    }
    assert_followed(shop, expected)
    shop.archived()
    assert "from a checkpoint" in workers.log("a")
    assert workers.restarts == restarts + 1


def test_misplaced_and_miskeyed_records_are_forwarded_or_refused(settings: Settings, workers: Workers) -> None:
    shop, letters = PlacingShop(settings), len(dead_letters(settings))
    before = Counter(results(workers.home("a")))
    for n, user in enumerate(PLACED):
        for topic in (EVENTS, PROFILES):
            if n < 20:
                shop.send(topic, user, key=user.encode())  # by librdkafka's own partitioner
            elif n < 40:
                shop.send(topic, user, place=n % P, key=user.encode())  # round-robin
            else:
                shop.send(topic, user, place=n % P)  # without a key
    misplaced, rightly = shop.wrong.copy(), len(shop.right[PROFILES])
    assert min(misplaced.values()) > 20
    assert rightly > 5
    for topic in (EVENTS, PROFILES):
        shop.send(topic, "eve", key=b"alice", partitioner="murmur2_random")
        shop.send(topic, "eve", key=b'"eve"', partitioner="murmur2_random")

    shop.assert_exact("once", len(PLACED))  # each event once, wherever it was
    shop.assert_exact("old", rightly)
    refused = {(EVENTS, "key_mismatch"): 2, (PROFILES, "key_mismatch"): 2}
    refused[PROFILES, "wrong_partition"] = misplaced[PROFILES]
    assert Counter((one.topic, code_of(one)) for one in dead_letters(settings)[letters:]) == refused
    sent = len(PLACED) + 2
    assert Counter(results(workers.home("a"))) - before == {
        (EVENTS, "taken"): sent + misplaced[EVENTS],  # forwarded records are read again in their partition
        (EVENTS, "moved"): misplaced[EVENTS],
        (EVENTS, "refused"): 2,
        (PROFILES, "taken"): sent,
        (PROFILES, "refused"): 2 + misplaced[PROFILES],
    }


def code_of(letter: DeadLetter) -> str:
    return letter.reason.partition(":")[0]


@pytest.mark.slow("each of many harmful records is met by a worker that must take the good ones beside it")
def test_malicious_records_become_dead_letters_among_good_ones(settings: Settings, workers: Workers) -> None:
    context, tenant = Context(settings), TenantName(f"t{fresh_id()}")
    earlier, restarts = len(dead_letters(settings)), workers.restarts
    context.audiences.add_tenant(tenant, now_ms())
    rule = new_rule("ever(order)")
    context.segments.create(tenant, AudienceName("buyers"), rule, new_id=fresh_id(), author="ann", now_ms=now_ms())
    sender = Sender(settings, tenant)
    good = iter(sender.users)
    sender.send(sender.event(next(good)))

    def counted() -> int:
        [overview] = context.segments.overviews(tenant)
        return sum(p.members for p in overview.partitions.values())

    until(lambda: counted() == 1)
    before = workers.peak_rss = workers.rss("a")
    for compression in ("zstd", "gzip", "lz4"):
        sender.send((None, b"\0" * (150 if compression == "lz4" else 200) * MB), compression=compression)
        sender.send(sender.event(next(good)))
    inside = [sender.event(next(good)), (None, b"{" + b" " * 40 * MB), sender.event(next(good))]
    sender.send(*inside)  # one batch: its good records are not read either
    sender.send((None, b"{" + b" " * 20 * MB))
    sender.send((b"k" * 5 * MB, sender.event(next(good))[1]))
    sender.send(sender.event(next(good), properties={"note": "x" * 10 * MB}))
    chunk = sender.chunk(next(good), next(good))
    sender.send((None, CODEC.encode(replace(chunk, rows=wide_rows()))))
    sender.send((None, CODEC.encode(replace(chunk, rows=chunk.rows + chunk.rows))))
    sender.send((None, CODEC.encode(sender.chunk(*(last := [next(good), next(good)])))))

    letters = until(lambda: found if len(found := dead_letters(settings)[earlier:]) >= 9 else None)
    reasons = [letter.reason for letter in letters]
    unpacks = "undecodable: it is a batch of records that decompresses to more than 33554432 bytes; none of it was read"
    large = f"too_large: {20 * MB + 1} bytes; a record may have at most 262144"
    assert reasons[:5] == [unpacks] * 4 + [f"{large} (only the beginning of its {20 * MB + 1} bytes is kept here)"]
    assert [reason.split(": ")[0] for reason in reasons[5:]] == ["key_mismatch", "too_large", *["broken_chunk"] * 2]
    assert [(letter.topic, letter.partition) for letter in letters] == [(EVENTS, 0)] * 9
    assert letters[4].offset - letters[3].offset == len(inside)
    members = {sender.users[n] for n in (0, 1, 2, 3)} | set(last)
    with suppress(AssertionError):
        until(lambda: counted() == len(members))
    assert counted() == len(members)
    checked = context.segment_check.run(tenant, "buyers", 60).comparison
    assert (checked.equal, checked.by_rule) == (True, len(members))
    assert workers.restarts == restarts
    assert workers.peak_rss - before < 150 * MB


@pytest.mark.slow("three transactions of real producers, one of which stays open")
def test_only_committed_transactions_count_and_open_ones_delay(settings: Settings, workers: Workers) -> None:
    shop, restarts = TransactionalShop(settings), workers.restarts
    one, two = shop.producer("one"), shop.producer("two")
    shop.order(shop.plain, USERS[:30])
    assert shop.plain.flush(30) == 0
    shop.interleave(one, two, turns=4)
    shop.abort(one, times=2)
    shop.assert_exact()
    assert_all_acknowledged(settings)

    members = shop.members("twice")
    shop.order(in_transaction(one), USERS)
    assert one.flush(30) == 0
    shop.order(shop.plain, USERS[:7])
    assert shop.plain.flush(30) == 0
    assert_waits(shop, members)
    one.commit_transaction(30)
    shop.assert_exact()
    assert_all_acknowledged(settings)
    assert workers.restarts == restarts


def muster(*arguments: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """Output of the command as JSON."""
    code = main([*arguments, "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads(said.out)


@pytest.mark.slow("topics are made again, and the worker starts three times")
def test_lost_topics_are_refused_until_a_rebase_and_nothing_is_lost(
    settings: Settings, workers: Workers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in settings.with_(engine_url="").environment().items():
        monkeypatch.setenv(name, value)
    shop = Shop(settings)
    shop.create("buyers", "count(order, 30d) >= 2")
    shop.create("calm", "never(refund)")
    shop.send(300)
    assert_followed(shop, {"buyers": shop.ordered(2), "calm": shop.known - shop.refunded})
    ended = shop.archived()
    assert workers.stop("a") == 0
    recreate(settings, ACTIVITY_TOPICS)
    shop.send(150)
    workers.start("a", **SESSION, **OFTEN)
    assert workers.wait_exit("a") == 70
    end_sessions(settings, SEGMENT_WORKER_GROUP, member_ids(settings, SEGMENT_WORKER_GROUP))
    assert "TOPIC_REPLACED" in workers.log("a")
    assert "muster segments rebase" in workers.log("a")
    asked = muster("segments", "rebase", "--dry-run", capsys=capsys)
    begun = muster("segments", "rebase", "--yes", capsys=capsys)
    assert (asked["needed"], asked["begun"], begun["begun"]) == (True, False, True)
    assert (begun["era"], [topic["replaced"] for topic in begun["topics"]]) == (1, [True, True])
    assert muster("segments", "rebase", "--yes", capsys=capsys)["needed"] is False
    start(settings, workers)
    shop.send(150)
    after = {"buyers": shop.ordered(2), "calm": shop.known - shop.refunded}
    assert_followed(shop, after)  # for a consumer that has read all changes from the beginning
    for name, users in after.items():
        checked = shop.context.segment_check.run(shop.tenant, name, 60).comparison
        assert (checked.equal, checked.by_rule) == (True, len(users))
    assert shop.archived() > ended
    (entry,) = [one for one in shop.context.audit.search() if one.action == "segments rebase"][:1]
    assert entry.error is None


def test_rebase_is_refused_while_workers_run(
    settings: Settings, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(settings)
    monkeypatch.setattr(rebase, "EMPTY_WITHIN_S", 0.0)
    found = administration.rebase(context).inspect()
    with pytest.raises(UserError, match=r"WORKERS_RUNNING: .* has 1 members"):
        administration.rebase(context).run(found)
    assert context.archive.log(EVENTS).epoch == found.log_epoch - 1


@pytest.mark.slow("a feed begins three times, and each time asks all partitions for the members")
def test_receiver_of_a_feed_has_the_members_though_its_process_dies_and_changes_expire(
    settings: Settings, workers: Workers, tmp_path: Path
) -> None:
    shop, any_revision = Shop(settings), lambda _: None
    shop.create("buyers", "count(order, 30d) >= 2")
    shop.send(300)
    until(lambda: shop.counted()["buyers"] == len(shop.ordered(2)))
    feed, feeders, feeds = FollowedFeed(shop, "buyers", tmp_path), feeder(shop, tmp_path), shop.context.feeds

    def equal() -> bool:
        return feed.members() == shop.ordered(2)

    try:
        feeders.start("f")
        with feed.followed():
            feed.create(f"kafka://{feed.topic}")
            until(equal)
            for _ in range(2):
                shop.send(300)
                feeders.signal("f", signal.SIGKILL)
            until(equal)
            assert (feed.shown().epoch, feed.shown().trouble) == (1, None)
            feeds.pause(shop.tenant, feed.name, any_revision)
            shop.edit("buyers", "count(order, 30d) >= 4")
            until(lambda: shop.counted()["buyers"] == len(shop.ordered(4)))
            feed.expire_changes()
            feeds.resume(shop.tenant, feed.name, any_revision, skip=False)
            until(lambda: feed.members() == shop.ordered(4))
            until(lambda: (feed.shown().epoch, feed.shown().phase) == (2, "changes"))
            shop.edit("buyers", "count(order, 30d) >= 2")
            until(equal)
            feeds.rewind(shop.tenant, feed.name, any_revision)
            until(lambda: (feed.shown().epoch, feed.shown().phase) == (3, "changes"))
            until(equal)
        feed.delete()
        assert feeders.stop("f") == 0
    finally:
        feeders.close()
    # No log names a user.
    assert not re.search(r"user-\d", feeders.log("f"))


@pytest.mark.slow("a feed begins three times, and its topic is read back each time")
def test_compacted_topic_holds_the_members_alone_whatever_came_before(
    settings: Settings, workers: Workers, tmp_path: Path
) -> None:
    shop, any_revision = Shop(settings), lambda _: None
    shop.create("buyers", "count(order, 30d) >= 2")
    shop.send(300)
    until(lambda: shop.counted()["buyers"] == len(shop.ordered(2)))
    feeders, feeds = feeder(shop, tmp_path), shop.context.feeds
    first, second = ShopFeed(shop, "buyers"), ShopFeed(shop, "buyers")
    topic = StateTopic(settings.kafka_bootstrap, f"acme.{first.name}", policy="delete")
    topic.put("theirs", "no event")

    def latest() -> set[str]:
        return topic.latest().keys() - {"theirs"}

    try:
        feeders.start("f")
        first.create(f"kafka://{topic.name}", "state")
        until(lambda: (first.shown().trouble or {}).get("code") == "DESTINATION_NOT_WRITABLE")
        topic.keep("compact")
        until(lambda: latest() == shop.ordered(2))
        shop.send(300)
        feeders.signal("f", signal.SIGKILL)
        until(lambda: latest() == shop.ordered(2))
        feeds.pause(shop.tenant, first.name, any_revision)
        shop.edit("buyers", "count(order, 30d) >= 4")
        until(lambda: shop.counted()["buyers"] == len(shop.ordered(4)))
        feeds.rewind(shop.tenant, first.name, any_revision)
        feeds.resume(shop.tenant, first.name, any_revision, skip=False)
        until(lambda: (first.shown().epoch, first.shown().phase) == (2, "changes"))
        assert latest() == shop.ordered(4)
        first.delete()
        # Another feed, which counts its beginnings from one, finds what this one has left.
        shop.edit("buyers", "count(order, 30d) >= 5")
        until(lambda: shop.counted()["buyers"] == len(shop.ordered(5)))
        second.create(f"kafka://{topic.name}", "state")
        until(lambda: second.shown().phase == "changes")
        assert latest() == shop.ordered(5)
        assert topic.latest()["theirs"] == "no event"
        second.delete()
        assert feeders.stop("f") == 0
    finally:
        feeders.close()
    assert not re.search(r"user-\d", feeders.log("f"))


def test_receiver_over_http_has_the_members_though_it_fails_and_takes_what_it_refuses(
    settings: Settings, workers: Workers, tmp_path: Path
) -> None:
    shop = Shop(settings)
    shop.create("buyers", "count(order, 30d) >= 2")
    shop.send(300)
    until(lambda: shop.counted()["buyers"] == len(shop.ordered(2)))
    feed, feeders = ShopFeed(shop, "buyers"), feeder(shop, tmp_path)
    with receiver() as found:

        def equal() -> bool:
            taken = Receiver(shop.tenant, "buyers")
            for request in list(found.requests):  # also what was answered with 500: it may have been stored
                for event in events_of(request.body):
                    taken.take(event)
            return set().union(*map(taken.members, range(P))) == shop.ordered(2)

        try:
            feeders.start("f", MUSTER_WEBHOOK_PRIVATE_TARGETS="127.0.0.1", MUSTER_WEBHOOK_SECRET="secret")
            found.answers[:] = [500, 200, 429, 400, 200, 500]
            feed.create(found.url)
            until(equal)
            for _ in range(2):
                found.answers[:] = [500, 500]
                shop.send(200)
                feeders.signal("f", signal.SIGKILL)
            until(equal)
            until(lambda: (feed.shown().trouble, feed.shown().phase, feed.shown().behind) == (None, "changes", 0))
            shop.keep_out("gone")
            shop.send(200)
            until(lambda: feed.shown().state == "halted")
            assert ((feed.shown().trouble or {})["code"], feed.shown().epoch) == ("FEED_WITHOUT_CONSENT", 2)
            shop.edit("buyers", "count(order, 30d) >= 2 and not in audience gone")
            shop.context.feeds.resume(shop.tenant, feed.name, lambda _: None, skip=False)
            until(lambda: (feed.shown().trouble, feed.shown().phase, feed.shown().behind) == (None, "changes", 0))
            until(equal)
            found.answers[:] = [410]
            shop.edit("buyers", "count(order, 30d) >= 3 and not in audience gone")
            until(lambda: feed.shown().state == "halted")
            assert (feed.shown().trouble or {})["code"] == "RECEIVER_GONE"
            feed.delete()
            assert feeders.stop("f") == 0
        finally:
            feeders.close()
    assert not re.search(r"user-\d", feeders.log("f"))


def events_of(body: bytes) -> list[bytes]:
    """The events of a batch, each in its own bytes."""
    first, *rest = body[1:-1].split(b',{"specversion"')
    return [first, *(b'{"specversion"' + one for one in rest)]
