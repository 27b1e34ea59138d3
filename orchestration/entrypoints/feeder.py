"""Entry point of the process that delivers feeds: `python -m orchestration.entrypoints.feeder`.

Exits with 0 on SIGTERM, else non-zero; the supervisor starts it again. What delivers is loaded once there is a feed:
before that, the process is small.
"""

import logging
import signal
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestration.catalog.engine import Database
from orchestration.composition.context import Context
from orchestration.composition.process import Part
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
    try:
        _await_feed(context, stop)
        if not stop.is_set():
            memory.bound()
            _feeder(context).run(stop)
    except MusterError as exc:
        _log.critical("the feeder stops: %s", exc)
        return 1
    return 0


def _await_feed(context: Context, stop: threading.Event) -> None:
    seen: object = object()
    while not stop.is_set():
        try:
            if (found := context.database.version()) != seen:
                if context.feeds.any_active():
                    return
                seen = found
        except RetriableError as exc:
            _log.warning("the catalog does not say whether there are feeds: %s", exc)
        stop.wait(LOOK_S)


def _feeder(context: Context) -> "Feeder":
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
    return delivery.Feeder(parts, topic, holder[-255:], context.database.version)


if __name__ == "__main__":
    end(main())
