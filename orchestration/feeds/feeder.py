"""Delivers the feeds that nobody else does: a thread for each, which runs it again after a fault.

A feed whose thread has made no step for `HUNG_S` ends the process: a call of librdkafka may never return. The
supervisor starts another one, which has the same name and so takes the leases over at once.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from orchestration.catalog.feed_records import HeldFeed
from orchestration.catalog.feeds import RENEW_MS, FeedStore
from orchestration.feeds.run import FeedParts, FeedRun, StoppedError
from orchestration.feeds.target import RefusedError
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError, MusterError, RetriableError
from schemas.ids import JobId
from schemas.log_ids import bound

CLAIM_S: Final = 0.5
"""Between two looks for feeds that nobody delivers."""
CLAIM_ANYWAY_S: Final = 5.0
"""The same while the catalog does not change: leases run out."""
HUNG_S: Final = 30.0
MAX_PAUSE_S: Final = 30.0
STEADY_S: Final = 60.0
"""A run that lasted so long starts over with the shortest pause."""
TOPIC_S: Final = 10.0
"""Between two looks whether the topic of changes is still the same: at its end, nothing else would show it."""
MOST: Final = 200
"""Feeds of one process."""
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Delivery:
    """A feed that is being delivered. `stepped_s`: its last step, in monotonic seconds."""

    held: HeldFeed
    stop: threading.Event = field(default_factory=threading.Event)
    stepped_s: float = field(default_factory=time.monotonic)
    thread: threading.Thread | None = None


class KnownTopic:
    """The id of the topic of changes, as it was last seen."""

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask
        self._found: str | MusterError = RetriableError("KAFKA_UNAVAILABLE", "Kafka has not answered yet")

    def look(self) -> None:
        """Ask again. During an outage, the topic that was there before counts."""
        try:
            self._found = self._ask()
        except MusterError as exc:
            if exc.code != "KAFKA_UNAVAILABLE" or not isinstance(self._found, str):
                self._found = exc

    def topic_id(self) -> str:
        """The id. Raises what Kafka answered instead."""
        if isinstance(self._found, MusterError):
            raise self._found
        return self._found


class Feeder:
    """The feeds of this process. `holder`: its name; `version`: changes with every commit to the catalog."""

    def __init__(self, parts: FeedParts, topic: KnownTopic, holder: str, version: Callable[[], object]) -> None:
        self._parts = parts
        self._topic = topic
        self._holder = holder
        self._version = version
        self._failures: dict[JobId, int] = {}
        self._deliveries: dict[JobId, _Delivery] = {}
        self._dice = random.Random()  # noqa: S311  # of pauses

    @property
    def _feeds(self) -> FeedStore:
        return self._parts.feeds

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Raises `FatalError` FEED_HUNG."""
        seen: object = object()
        claimed_s = renewed_s = looked_s = 0.0
        try:
            while not stop.wait(CLAIM_S):
                now_s = time.monotonic()
                if self._deliveries and now_s - looked_s >= TOPIC_S:
                    self._topic.look()
                    looked_s = now_s
                try:
                    if now_s - renewed_s >= RENEW_MS / 1000:
                        self._renew()
                        renewed_s = now_s
                    if (found := self._version()) != seen or now_s - claimed_s >= CLAIM_ANYWAY_S:
                        self._stop_lost()
                        self._claim()
                        seen, claimed_s = found, now_s
                except MusterError as exc:
                    _log.warning("the catalog does not say which feeds are to be delivered: %s", exc)
                self._watch(now_s)
        finally:
            self._end()

    def _claim(self) -> None:
        self._deliveries = {key: one for key, one in self._deliveries.items() if one.thread and one.thread.is_alive()}
        claimed = self._feeds.claim(self._holder, self._deliveries, now_ms(), MOST - len(self._deliveries))
        if claimed and not self._deliveries:
            self._topic.look()
        for held in claimed:
            one = self._deliveries[held.feed.feed_id] = _Delivery(held=held)
            _log.info("delivers feed %s/%s", held.feed.tenant, held.feed.name)
            one.thread = threading.Thread(target=self._deliver, args=(one,), name=f"feed-{held.feed.name}", daemon=True)
            one.thread.start()

    def _renew(self) -> None:
        if self._deliveries:
            self._feeds.renew([one.held.lease for one in self._deliveries.values()], now_ms())

    def _stop_lost(self) -> None:
        """Stop feeds that somebody has paused, changed or deleted, or that another process has taken over."""
        if not self._deliveries:
            return
        kept = self._feeds.holding([one.held.lease for one in self._deliveries.values()])
        for one in self._deliveries.values():
            if one.held.lease not in kept:
                one.stop.set()

    def _watch(self, now_s: float) -> None:
        for one in self._deliveries.values():
            if one.thread and one.thread.is_alive() and now_s - one.stepped_s > HUNG_S:
                feed = one.held.feed.feed_id
                raise FatalError("FEED_HUNG", f"feed {feed} has made no step for {HUNG_S:.0f} s", feed=feed)

    def _end(self) -> None:
        for one in self._deliveries.values():
            one.stop.set()
        until = time.monotonic() + HUNG_S
        for one in self._deliveries.values():
            if one.thread is not None:
                one.thread.join(max(0.0, until - time.monotonic()))

    def _deliver(self, one: _Delivery) -> None:
        """Once; a fault is recorded, and the lease given back after a pause, for the next run."""

        def step() -> None:
            one.stepped_s = time.monotonic()
            if one.stop.is_set():
                raise StoppedError

        feed, began_s = one.held.feed, time.monotonic()
        with bound(tenant=feed.tenant, feed=feed.feed_id):
            run = FeedRun(self._parts, one.held, step)
            try:
                try:
                    run.run()
                finally:
                    run.record()
            except StoppedError:
                pass
            except RefusedError as exc:
                _log.error("feed %s/%s is halted: %s", feed.tenant, feed.name, exc)
            except MusterError as exc:
                self._failed(one, exc, began_s)
            except Exception as exc:  # noqa: BLE001  # a thread that ends would end without a word
                _log.exception("feed %s/%s", feed.tenant, feed.name)
                self._failed(one, FatalError("FEED_FAILED", f"unexpected: {type(exc).__name__}"), began_s)
            try:
                self._feeds.release(one.held)
            except MusterError as exc:
                _log.warning("the lease of feed %s/%s runs out by itself: %s", feed.tenant, feed.name, exc)

    def _failed(self, one: _Delivery, why: MusterError, began_s: float) -> None:
        feed = one.held.feed
        _log.warning("feed %s/%s: %s", feed.tenant, feed.name, why)
        failures = 1 if time.monotonic() - began_s > STEADY_S else self._failures.get(feed.feed_id, 0) + 1
        self._failures[feed.feed_id] = failures
        pause_s = min(MAX_PAUSE_S, 0.5 * 2 ** min(failures, 12)) * (0.5 + self._dice.random() / 2)
        until = time.monotonic() + pause_s
        try:
            self._feeds.put_trouble(one.held, why, now_ms())
        except MusterError as exc:
            _log.warning("the trouble of feed %s/%s is not recorded: %s", feed.tenant, feed.name, exc)
        while (left_s := until - time.monotonic()) > 0 and not one.stop.wait(min(left_s, 5.0)):
            one.stepped_s = time.monotonic()
