"""Entry point of the process that delivers feeds: `python -m orchestration.entrypoints.feeder`.

Exits with 0 on SIGTERM, else non-zero; the supervisor starts it again. What delivers is loaded once there is a feed:
before that, the process is small.
"""

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestration.catalog.engine import Database
from orchestration.composition.context import Context
from orchestration.composition.process import Part
from orchestration.local.home import SIGN_OF_LIFE
from orchestration.platform.capacity import CONNECTIONS_OF_A_FEEDER
from orchestration.platform.deferred import deferred
from orchestration.platform.ending import end
from orchestration.platform.logs import configure
from orchestration.platform.settings import Settings
from orchestration.platform.tracing import start_tracing
from schemas.errors import MusterError, RetriableError
from schemas.topics import MEMBERSHIP_CHANGES

if TYPE_CHECKING:
    from orchestration.feeds.feeder import Feeder

with deferred(__name__):
    from connectors.kafka import topic_ids
    from orchestration.feeds import feeder as delivery
    from orchestration.feeds import run as feed_runs
    from orchestration.feeds import targets
    from streams import memory

LIFE_S: Final = 10.0
"""Between two signs of life."""
LOOK_S: Final = 0.5
"""Between two looks whether there is a feed."""
_log = logging.getLogger("orchestration.feeds")


@dataclass(frozen=True)
class _FeederContext(Context):
    @Part
    def database(self) -> Database:
        """The catalog database; a feed needs a connection once a second."""
        return Database(self.settings.catalog_url, connections=CONNECTIONS_OF_A_FEEDER - 1)


def main() -> int:
    """Run until SIGTERM. Exit code 1 when the process cannot go on."""
    settings = Settings.load()
    configure(settings)
    start_tracing(settings.otlp_endpoint, "feeder")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    context = _FeederContext(settings)
    version = _Look(context.database.version, settings.home / SIGN_OF_LIFE)
    try:
        _await_feed(context, version, stop)
        if not stop.is_set():
            memory.bound()
            _feeder(context, version).run(stop)
    except MusterError as exc:
        _log.critical("the feeder stops: %s", exc)
        return 1
    return 0


class _Look:
    """The version of the catalog, at which the loops look twice a second. `sign` shows `health feeder` that they do."""

    def __init__(self, version: Callable[[], object], sign: Path) -> None:
        self._version = version
        self._sign = sign
        self._signed_s = -LIFE_S

    def __call__(self) -> object:
        now_s = time.monotonic()
        if now_s - self._signed_s >= LIFE_S:
            self._signed_s = now_s
            try:
                self._sign.parent.mkdir(parents=True, exist_ok=True)
                self._sign.touch()
            except OSError as exc:
                _log.warning("%s cannot be written: %s", self._sign, exc)
        return self._version()


def _await_feed(context: Context, version: Callable[[], object], stop: threading.Event) -> None:
    seen: object = object()
    while not stop.is_set():
        try:
            if (found := version()) != seen:
                if context.feeds.any_active():
                    return
                seen = found
        except RetriableError as exc:
            _log.warning("the catalog does not say whether there are feeds: %s", exc)
        stop.wait(LOOK_S)


def _feeder(context: Context, version: Callable[[], object]) -> "Feeder":
    settings = context.settings
    ids = topic_ids.TopicIds(settings.kafka_bootstrap)
    topic = delivery.KnownTopic(lambda: ids.topic_id(MEMBERSHIP_CHANGES))
    parts = feed_runs.FeedParts(
        activations=context.activations,
        consent=context.consent,
        feeds=context.feeds,
        objects=context.objects,
        s3=context.s3,
        segments=context.segments,
        settings=settings,
        topic_id=topic.topic_id,
        target=targets.target_of(settings, context.feeds),
    )
    # A process of this machine and home that follows another one takes over its feeds at once.
    holder = f"{socket.gethostname()}:{settings.home}"
    return delivery.Feeder(parts, topic, holder[-255:], version)


if __name__ == "__main__":
    end(main())
