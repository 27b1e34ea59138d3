"""Feeds of a tenant."""

from typing import Final

from connectors.sinks.topic_addresses import SCHEME, topic_of
from orchestration.access.bodies.feeds import FeedChange, NewFeed
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.pages import Page, Tagged, first
from orchestration.access.policy import Action
from orchestration.access.revisions import Seen, unchanged
from orchestration.access.views.tenant import TenantView
from orchestration.catalog import feeds as catalog
from orchestration.operations.feeds import new_feed
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.questions import CheckFeedTopic
from orchestration.records.feeds import Feed
from schemas.ids import feed_name, segment_name

OF_TARGETS: Final = (
    "BAD_DESTINATION",
    "BAD_RECIPIENT",
    "BAD_URI",
    "DESTINATION_NOT_WRITABLE",
    "FEED_TOPIC_TAKEN",
    "FEED_WITHOUT_CONSENT",
    "NO_WEBHOOK_SECRET",
)


class Feeds(TenantView):
    """Feeds as one caller sees and changes them."""

    @reads(Action.READ, "GET /feeds")
    def list_feeds(self, *, after: str = "", limit: int) -> Page[Feed]:
        """Feeds by name, with how far each is."""
        found = self._services.feeds.page(self._name, after=after, limit=limit + 1)
        return first(found, limit, lambda one: one.name)

    @reads(Action.READ, "GET /feeds/{feed}")
    def get_feed(self, feed: str) -> Tagged[Feed]:
        """A feed, and how far it is."""
        return self._services.feeds.get(self._name, feed_name(feed))

    @recorded(
        Action.RUN_JOBS,
        "feeds create",
        "POST /feeds",
        status=201,
        problems=(*OF_TARGETS, "BAD_NAME", "UNKNOWN_SEGMENT", "FEED_EXISTS", "TOO_MANY_FEEDS"),
    )
    def create_feed(self, entry: Entry, cancellation: Cancellation, body: NewFeed) -> Tagged[Feed]:
        """Create a feed: who enters and leaves a segment, to a topic, which exists, or a receiver, as it happens."""
        entry.object, entry.arguments = f"feeds/{body.name[:63]}", body.model_dump()
        services, name = self._services, feed_name(body.name)
        segment = services.segments.get(self._name, segment_name(body.segment))
        new = new_feed(
            segment,
            services.segments.rule(segment),
            services.consent.of(self._name),
            name,
            to=body.to,
            start=body.start,
            shape=body.shape,
            author=self._caller.principal.name,
            feed_id=fresh_id(),
            now_ms=now_ms(),
            allowed=self._allowed_locations(),
        )
        if new.target.startswith(SCHEME):
            topic, compacted = topic_of(new.target), new.shape == "state"
            services.readers.ask(CheckFeedTopic(tenant=self._name, topic=topic, compacted=compacted), cancellation)
        services.feeds.add(new)
        entry.after = made = services.feeds.get(self._name, name)
        return made

    @recorded(Action.RUN_JOBS, "feeds change state", "PATCH /feeds/{feed}", problems=("NOTHING_TO_SKIP",))
    def change_feed(self, entry: Entry, feed: str, body: FeedChange, *, seen: Seen) -> Tagged[Feed]:
        """Pause or resume a feed; resume it without the events that its receiver refuses. A pause loses nothing."""
        entry.object, entry.arguments = f"feeds/{feed[:63]}", body.model_dump()
        feeds, name, check = self._services.feeds, feed_name(feed), self._check(entry, seen)
        if body.state == "paused":
            entry.after = changed = feeds.pause(self._name, name, check)
        else:
            entry.after = changed = feeds.resume(self._name, name, check, skip=body.skip)
        return changed

    @recorded(Action.RUN_JOBS, "feeds rewind", "POST /feeds/{feed}/rewinds", status=202)
    def rewind_feed(self, entry: Entry, feed: str, *, seen: Seen) -> Tagged[Feed]:
        """Let a feed begin again: all members, then who is none any more, then changes."""
        entry.object = f"feeds/{feed[:63]}"
        entry.after = changed = self._services.feeds.rewind(self._name, feed_name(feed), self._check(entry, seen))
        return changed

    @recorded(Action.RUN_JOBS, "feeds replace key", "POST /feeds/{feed}/keys", status=202)
    def replace_feed_key(self, entry: Entry, feed: str, *, seen: Seen) -> Tagged[Feed]:
        """Replace the key that signs requests to a receiver. For a day, requests have the signatures of both."""
        entry.object = f"feeds/{feed[:63]}"
        name, now = feed_name(feed), now_ms()
        entry.after = changed = self._services.feeds.replace_key(self._name, name, self._check(entry, seen), now)
        return changed

    @recorded(Action.RUN_JOBS, "feeds delete", "DELETE /feeds/{feed}")
    def delete_feed(self, entry: Entry, feed: str, *, seen: Seen) -> Feed:
        """Delete a feed. What it has delivered stays; its answer is the feed as it was."""
        entry.object = f"feeds/{feed[:63]}"
        return self._services.feeds.delete(self._name, feed_name(feed), self._check(entry, seen))

    def _check(self, entry: Entry, seen: Seen) -> catalog.Check:
        def check(present: Feed) -> None:
            entry.before = present
            unchanged(Feed.revision, seen)(present)

        return check
