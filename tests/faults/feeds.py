"""Feeds under faults: a topic, a compacted topic and a receiver over HTTP have the members, whatever dies meanwhile.

`python -m tests.faults.feeds`. In each turn programs send events during one fault. Afterwards the consumer of the docs,
a reader of the compacted topic and the receiver must have the members that plain Python counts; in the end also whoever
reads all that was ever delivered, and equal ids have equal bytes.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from connectors.kafka.logon import librdkafka_config
from schemas.topics import MEMBERSHIP_CHANGES
from tests.fakes.feeds import Receiver
from tests.faults.kinds import KINDS, Kind, Struck, fault, killed_part
from tests.faults.stack import FaultedStack, faulted_stack
from tests.faults.waiting import until
from tests.integration.feed_shop import PARTITIONS, FollowedFeed, ShopFeed, StateTopic, feeder
from tests.integration.segment_shop import Shop, recreate
from tests.integration.workers import Workers
from tests.servers.webhooks import receiver

SEGMENT: Final = "buyers"
FIRST_SEED: Final = 20_261_203
EVENTS: Final = 200
LEAST: Final = (2, 4, 3)
"""Orders of a member. The rule changes with every turn."""
ANSWERS: Final = (500, 500, 429, 500)
"""Of the receiver at the beginning of each turn, although it has taken what it was sent."""
EQUAL_S: Final = 240.0
TAKEN_OVER_S: Final = 120.0
"""A lease lasts 30 s."""


def _frozen_and_replaced(workers: Workers, stack: FaultedStack, seed: int) -> Iterator[Struck]:
    """Freeze the feeder until another process delivers its feeds, and wake it then."""
    del seed
    pid = until(lambda: stack.pid("feeder"), "a feeder")
    os.kill(pid, signal.SIGSTOP)
    try:
        workers.start("other")
        until(lambda: "delivers feed" in workers.log("other"), "another feeder", timeout_s=TAKEN_OVER_S)
    finally:
        os.kill(pid, signal.SIGCONT)
    yield lambda: 1
    workers.stop("other")


def _recreated(stack: FaultedStack, seed: int) -> Iterator[Struck]:
    """The topic of changes is lost, and created again."""
    del seed
    recreate(stack.settings, [MEMBERSHIP_CHANGES])
    yield lambda: 1


def kinds(workers: Workers) -> list[Kind]:
    """What happens in the turns, in this order."""
    return [
        Kind(name="kill feeder", fault=partial(killed_part, "feeder")),
        KINDS["kill kafka"],
        Kind(name="freeze feeder", fault=partial(_frozen_and_replaced, workers)),
        Kind(name="kill segment worker", fault=partial(killed_part, "segment-worker-1")),
        KINDS["kill catalog"],
        KINDS["lose kafka"],
        KINDS["reset kafka"],
        KINDS["lose catalog"],
        Kind(name="recreate topic", fault=_recreated),
        KINDS["kill s3"],
    ]


def soak(turns: Iterable[int], *, report: Callable[[str], None]) -> list[str]:
    """Run these turns, by their numbers, on one stack. Returns what is wrong, each as a sentence."""
    folder = Path(tempfile.mkdtemp(prefix="muster-feeds-"))
    wrong: list[str] = []
    try:
        with faulted_stack(folder, segments=True) as stack:
            wrong += _on(stack, folder, turns, report)
    finally:
        if wrong:
            kept = tempfile.mkdtemp(prefix="muster-feeds-logs-")
            shutil.copytree(folder / "home" / "logs", kept, dirs_exist_ok=True)
            report(f"the logs are kept in {kept}")
        shutil.rmtree(folder, ignore_errors=True)
    return wrong


def _on(stack: FaultedStack, folder: Path, turns: Iterable[int], report: Callable[[str], None]) -> Iterator[str]:
    shop = Shop(stack.settings)
    shop.create(SEGMENT, f"count(order, 30d) >= {LEAST[0]}")
    with ExitStack() as opened:
        http = opened.enter_context(receiver())
        workers = feeder(shop, folder)
        opened.callback(workers.close)
        events = FollowedFeed(shop, SEGMENT, folder)
        state, posted = ShopFeed(shop, SEGMENT), ShopFeed(shop, SEGMENT)
        topic = StateTopic(stack.settings.kafka_bootstrap, f"acme.{state.name}")
        opened.enter_context(events.followed())
        events.create(f"kafka://{events.topic}")
        state.create(f"kafka://{topic.name}", "state")
        posted.create(http.url)
        taken = Taken(shop, stack.settings.partitions)

        def posted_members() -> set[str]:
            taken.take(body for request in list(http.requests)[taken.bodies :] for body in [request.body])
            return taken.members()

        readers: dict[str, Callable[[], set[str]]] = {
            "the consumer of the docs": events.members,
            "the compacted topic": lambda: set(topic.latest()),
            "the receiver": posted_members,
        }
        for turn in turns:
            possible = [k for k in kinds(workers) if not k.impossible(postgres=stack.has_postgres)]
            kind, least, began = possible[turn % len(possible)], LEAST[turn % len(LEAST)], time.monotonic()
            http.answers[:] = ANSWERS
            with fault(kind, stack, FIRST_SEED + turn) as struck:
                shop.send(EVENTS)
                until(partial(_edited, shop, least), "an edit of the rule")
                shop.send(EVENTS)
            until(stack.ready, "a stack that is whole again", timeout_s=EQUAL_S)
            feeds = [one.shown() for one in (events, state, posted)]
            if different := list(_different(readers, shop.ordered(least))):
                known = [(feed.epoch, feed.phase, feed.trouble) for feed in feeds]
                yield f"turn {turn}, {kind.name}: {'; '.join(different)}; {known}"
                return
            seconds, begun = time.monotonic() - began, [one.epoch for one in feeds]
            report(f"turn {turn}, {kind.name}: struck {struck()}, equal after {seconds:.1f} s, begun {begun}")
        everything = Taken(shop, stack.settings.partitions)
        everything.take_events(delivered(stack.settings.kafka_bootstrap, events.topic))
        if everything.members() != shop.ordered(least):
            yield "whoever reads all that was delivered has other members"


def _different(readers: Mapping[str, Callable[[], set[str]]], wanted: set[str]) -> Iterator[str]:
    for name, members in readers.items():
        try:
            until(partial(_equal, members, wanted), name, timeout_s=EQUAL_S)
        except AssertionError:
            found = members()
            yield f"{name} lacks {len(wanted - found)} of {len(wanted)} members, and has {len(found - wanted)} others"


def _equal(members: Callable[[], set[str]], wanted: set[str]) -> bool:
    return members() == wanted


def _edited(shop: Shop, least: int) -> bool:
    shop.edit(SEGMENT, f"count(order, 30d) >= {least}")
    return True


class Taken:
    """What a receiver knows. Raises `AssertionError` if equal ids have different bytes."""

    def __init__(self, shop: Shop, partitions: int) -> None:
        self._known = Receiver(shop.tenant, SEGMENT)
        self._partitions = partitions
        self.bodies = 0

    def take(self, bodies: Iterable[bytes]) -> None:
        """Batches, in their order."""
        for body in bodies:
            self.take_events(map(bytes, msgspec.json.decode(body, type=list[msgspec.Raw])))
            self.bodies += 1

    def take_events(self, events: Iterable[bytes]) -> None:
        """Events, in their order."""
        for event in events:
            self._known.take(event)

    def members(self) -> set[str]:
        """Of all sources."""
        return set().union(*map(self._known.members, range(self._partitions)))


def delivered(bootstrap: str, topic: str) -> Iterator[bytes]:
    """All committed events of a topic."""
    consumer = Consumer(
        {**librdkafka_config(bootstrap), "group.id": "all", "enable.partition.eof": True, "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    ended = 0
    while ended < PARTITIONS:
        for message in consumer.consume(1000, 1):
            if (error := message.error()) is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                ended += 1
            else:
                yield bytes(message.value() or b"")
    consumer.close()


def main() -> int:
    """Return the exit code: 0 when nothing is wrong, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.feeds", description=__doc__)
    parser.add_argument("--turns", type=int, default=30, help="faults (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default: %(default)s)")
    given = parser.parse_args()
    turns = range(given.first, given.first + given.turns)
    wrong = soak(turns, report=lambda line: print(line, flush=True))  # noqa: T201 - a command
    for violation in wrong:
        print(f"VIOLATION: {violation}", file=sys.stderr)  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
