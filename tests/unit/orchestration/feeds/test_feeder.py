"""The threads of a feeder: what becomes of a feed that fails, hangs, or whose topic is another one."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from connectors.feeds.members import members_of
from connectors.storage.access import S3Access
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.consent import ConsentStore, StandingList
from orchestration.catalog.engine import Database
from orchestration.catalog.feed_records import Feed
from orchestration.catalog.feeds import FeedStore
from orchestration.catalog.migrate import upgrade
from orchestration.catalog.segments import SegmentStore
from orchestration.feeds import feeder as feeding
from orchestration.feeds.feeder import Feeder, KnownTopic
from orchestration.feeds.run import FeedParts
from orchestration.platform.settings import Secret
from orchestration.records import feeds as records
from schemas.errors import FatalError, RetriableError
from schemas.ids import AudienceName, JobId, TenantName
from schemas.import_spec import ImportSpec
from segmentation.feeds.positions import ANY, Position
from tests.fakes.rules import new_rule
from tests.waiting import until

ACME = TenantName("acme")


@dataclass
class World:
    """A feed that has a position, in a catalog, and the parts of a process that cannot deliver it."""

    feeds: FeedStore
    database: Database
    topic: Callable[[], str] = lambda: "T"
    target: Callable[..., Any] = lambda *_: None
    stop: threading.Event = field(default_factory=threading.Event)

    def shown(self) -> records.Feed:
        return self.feeds.get(ACME, "crm")

    def trouble(self) -> str:
        return "" if (found := self.shown().trouble) is None else str(found["code"])

    def feeder(self) -> Feeder:
        parts = FeedParts(
            activations=cast(Any, None),
            consent=ConsentStore(self.database),
            feeds=self.feeds,
            objects=cast(Any, None),
            s3=cast(Any, None),
            segments=SegmentStore(self.database),
            settings=cast(Any, None),
            topic_id=self.topic,
            target=self.target,
        )
        return Feeder(parts, KnownTopic(self.topic), "here", self.database.version)

    def run(self) -> threading.Thread:
        thread = threading.Thread(target=self.feeder().run, args=(self.stop,))
        thread.start()
        return thread


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    url = Secret(f"sqlite:///{tmp_path}/catalog.db")
    upgrade(url)
    database = Database(url)
    AudienceStore(database).add_tenant(ACME, 1)
    feeds = FeedStore(database)
    feeds.add(
        Feed(
            feed_id=JobId("0" * 26),
            tenant=ACME,
            name="crm",
            segment=AudienceName("buyers"),
            target="kafka://t",
            shape="changes",
            start="now",
            author="ann",
            created_at_ms=1,
        )
    )
    [held] = feeds.claim("before", (), 0, 1)
    feeds.begin(held, "T", {0: Position(5, 1, ANY)}, None)
    feeds.release(held)
    yield World(feeds, database)
    database.close()


def test_feed_that_fails_says_why_and_is_tried_again(world: World) -> None:
    tries = []

    def broken(*_: object) -> None:
        tries.append(1)
        raise RetriableError("KAFKA_UNAVAILABLE", "no broker") if len(tries) == 1 else ValueError("u1")

    world.target = broken
    running = world.run()
    until(lambda: world.trouble() == "KAFKA_UNAVAILABLE")
    until(lambda: world.trouble() == "FEED_FAILED")
    assert "u1" not in str(world.shown().trouble)
    world.stop.set()
    running.join()
    assert len(world.feeds.claim("another", (), 0, 1)) == 1  # its lease was given back


def test_feed_whose_topic_was_created_again_begins_again(world: World) -> None:
    world.topic = lambda: "U"
    running = world.run()
    until(lambda: world.shown().epoch == 2)
    world.stop.set()
    running.join()
    assert world.trouble() in {"FEED_BEGINS_AGAIN", "FEED_FAILED"}


def test_feed_is_halted_while_its_rule_lacks_a_standing_list(world: World) -> None:
    lists = AudienceStore(world.database)
    gone = lists.create(ACME, AudienceName("gone"), new_id=JobId("1" * 26), now_ms=1, spec=ImportSpec())
    segments, buyers = SegmentStore(world.database), AudienceName("buyers")
    segments.create(ACME, buyers, new_rule("ever(order)"), new_id=JobId("2" * 26), author="ann", now_ms=1)
    standing = [StandingList(audience_id=gone.audience_id, audience=gone.name)]
    ConsentStore(world.database).replace(ACME, standing, now_ms=1, check=lambda _: None)
    delivered = []
    world.target = lambda *_: delivered.append(1)
    running = world.run()
    until(lambda: world.shown().state == "halted")
    assert (world.trouble(), world.shown().epoch, world.shown().phase) == ("FEED_WITHOUT_CONSENT", 2, "waiting")
    assert not delivered
    rule = new_rule("ever(order) and not in audience gone")
    segments.edit(ACME, buyers, rule, author="ann", now_ms=1)
    world.feeds.resume(ACME, "crm", lambda _: None, skip=False)
    until(lambda: world.trouble() == "FEED_FAILED")  # a cut is asked for, of parts that this process lacks
    world.stop.set()
    running.join()


def test_feed_that_makes_no_step_ends_the_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "HUNG_S", 0.2)
    released = threading.Event()
    world.target = lambda *_: released.wait(60)
    try:
        with pytest.raises(FatalError, match="FEED_HUNG"):
            world.feeder().run(world.stop)
    finally:
        released.set()


def test_topic_that_was_there_counts_while_kafka_is_away() -> None:
    answers: list[str | Exception] = [
        "T",
        RetriableError("KAFKA_UNAVAILABLE", "x"),
        RetriableError("TOPIC_MISSING", "x"),
    ]

    def ask() -> str:
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    topic = KnownTopic(ask)
    with pytest.raises(RetriableError, match="KAFKA_UNAVAILABLE"):
        topic.topic_id()
    for _ in range(2):
        topic.look()
        assert topic.topic_id() == "T"
    topic.look()
    with pytest.raises(RetriableError, match="TOPIC_MISSING"):
        topic.topic_id()


def test_file_of_members_that_is_gone_is_named() -> None:
    class Filesystem:
        def open_input_file(self, path: str) -> object:
            raise FileNotFoundError(path)

    class Access:
        def filesystem(self) -> Filesystem:
            return Filesystem()

    with pytest.raises(FatalError, match="CUT_FILE_MISSING"):
        list(members_of(cast(S3Access, Access()), "s3://b/k"))
    assert list(members_of(cast(S3Access, Access()), None)) == []
