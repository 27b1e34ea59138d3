"""The target of a feed, by its address."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from connectors.feeds.changes_target import ChangesTarget
from connectors.feeds.state_target import StateTarget
from connectors.feeds.topic_writer import TopicWriter
from connectors.sinks.topic_addresses import SCHEME, topic_of
from orchestration.catalog.feed_records import Feed, HeldFeed
from orchestration.feeds.http_target import HttpTarget
from orchestration.feeds.target import Target
from orchestration.notifications.targets import PrivateTargets
from orchestration.operations.feeds import signing_key
from orchestration.platform.clock import now_ms
from orchestration.platform.duck_limits import duck_limits
from orchestration.platform.settings import Secret, Settings
from schemas.errors import FatalError

if TYPE_CHECKING:
    from orchestration.catalog.feeds import FeedStore


def target_of(settings: Settings, feeds: "FeedStore") -> Callable[[HeldFeed, Callable[[], None]], Target]:
    """Makes the target of a feed. It raises as `TopicWriter` does, and `FatalError` NO_WEBHOOK_SECRET."""

    def made(held: HeldFeed, step: Callable[[], None]) -> Target:
        feed = held.feed
        if feed.target.startswith(SCHEME):
            topic, bootstrap = topic_of(feed.target), settings.kafka_bootstrap
            writer = TopicWriter(bootstrap, topic, feed.feed_id)
            if feed.shape == "state":
                return StateTarget(bootstrap, topic, writer, duck_limits(settings), step)
            return ChangesTarget(writer)
        if not settings.webhook_secret:
            raise FatalError("NO_WEBHOOK_SECRET", "the setting webhook_secret is not set, so nothing can be signed")
        return HttpTarget(
            feed.target,
            lambda: _keys(settings.webhook_secret, feed),
            PrivateTargets.parse(settings.webhook_private_targets),
            step=step,
            failed=lambda why: feeds.put_trouble(held, why, now_ms()),
        )

    return made


def _keys(secret: Secret, feed: Feed) -> Sequence[Secret]:
    """The key, and the one before it for a while after it was replaced."""
    both = feed.both_keys_until_ms is not None and feed.both_keys_until_ms > now_ms()
    return [signing_key(secret, feed.feed_id, number) for number in range(feed.key_number - both, feed.key_number + 1)][
        ::-1
    ]
