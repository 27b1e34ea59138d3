"""Delivers one feed, in these steps.

1. If it has no position: ask for a cut, and record where the feed begins, under a new epoch.
2. Deliver the members of the cut, then a reset for each partition. A target may read back what it has, once for all.
3. Read changes, and deliver a batch. While it is on its way, the next one gathers.
4. Record the position, at most once a second: after a crash, what came since is delivered again, with equal bytes.

If the topic no longer has what follows the position, lacks messages or is another topic, the feed begins again.

Before changes of a rule are delivered, and once a second, the rule must exclude the standing lists of the tenant's
consent policy; otherwise the feed is halted.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from connectors.feeds.changes import ChangesReader, LostPositionError
from connectors.feeds.members import members_of
from orchestration.catalog.feed_records import FeedCut, HeldFeed, Refused
from orchestration.feeds.target import RefusedError, Target
from orchestration.operations.cuts import ask_for_cuts
from orchestration.operations.feeds import require_consent
from orchestration.platform.clock import fresh_id, now_ms
from schemas.errors import FatalError, RetriableError, UserError
from schemas.layout import cut_prefix
from schemas.segment_messages import CutRequested
from segmentation.feeds.following import FeedEvent, Followed, GapError, PartitionFeed
from segmentation.feeds.positions import MEMBERS, CutPart, Position, beginning

if TYPE_CHECKING:
    from connectors.storage.access import S3Access
    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.activations import ActivationStore
    from orchestration.catalog.consent import ConsentStore
    from orchestration.catalog.feeds import FeedStore
    from orchestration.catalog.segments import SegmentStore
    from orchestration.platform.settings import Settings

AHEAD_MS: Final = 1_000
"""A cut is requested for an instant in the future, so that no partition has passed it."""
CUT_S: Final = 30.0
RECORD_S: Final = 1.0
"""Between two records of the position."""
REST_S: Final = 10.0
"""The same while nothing was delivered."""
WAIT_S: Final = 0.5
POLL_S: Final = 0.2
_log = logging.getLogger(__name__)


class StoppedError(Exception):
    """The process stops, or the lease is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedParts:
    """What a run uses. `topic_id`: the present id of the topic of changes, as last seen."""

    activations: "ActivationStore"
    consent: "ConsentStore"
    feeds: "FeedStore"
    objects: "ObjectStore"
    s3: "S3Access"
    segments: "SegmentStore"
    settings: "Settings"
    topic_id: Callable[[], str]
    target: Callable[[HeldFeed, Callable[[], None]], Target]


class FeedRun:
    """One run of a feed, until it is stopped or something fails.

    `step` is called between steps, at least every few seconds while anything goes on, and raises `StoppedError`.
    """

    def __init__(self, parts: FeedParts, held: HeldFeed, step: Callable[[], None]) -> None:
        self._parts = parts
        self._held = held
        self._step = step
        self._delivered: dict[int, Position] = {}
        self._partitions: dict[int, PartitionFeed] = {}
        self._count = 0
        self._recorded: tuple[dict[int, Position], int | None] | None = None
        self._recorded_s = time.monotonic()
        self._permitted: set[int] = set()
        self._permitted_s = 0.0

    def run(self) -> None:
        """Raises `StoppedError`, `RefusedError`, any `MusterError`; begins again as the module says."""
        feed = self._held.feed
        try:
            found = self._parts.topic_id()
            if feed.positions is None:
                positions, cut = self._begin(found)
            else:
                positions, cut = dict(feed.positions), feed.cut
                if feed.topic_id != found:
                    raise LostPositionError(f"the topic was created again: {found}, not {feed.topic_id}")
            self._deliver_all(found, positions, cut)
        except (LostPositionError, GapError) as exc:
            why = RetriableError("FEED_BEGINS_AGAIN", f"all members are delivered again: {exc}")
            self._parts.feeds.begin_again(self._held, why, now_ms())
            self._remove(feed.cut)
            _log.warning("feed %s: %s", feed.feed_id, why)

    def _deliver_all(self, topic_id: str, positions: dict[int, Position], cut: FeedCut | None) -> None:
        feed = self._held.feed
        followed = Followed(tenant=feed.tenant, segment=feed.segment, topic_id=topic_id, epoch=feed.epoch)
        self._partitions = {p: PartitionFeed(followed, p, position) for p, position in positions.items()}
        self._delivered = positions
        self._require_consent()
        target = self._parts.target(self._held, self._step)
        try:
            self._deliver_members(target, cut)
            reader = ChangesReader(self._parts.settings.kafka_bootstrap, {p: at.offset for p, at in positions.items()})
            try:
                self._follow(target, reader, topic_id)
            finally:
                reader.close()
        finally:
            target.close()

    def _begin(self, topic_id: str) -> tuple[dict[int, Position], FeedCut | None]:
        """Step 1."""
        feed, parts = self._held.feed, self._parts
        segment = parts.segments.get(feed.tenant, feed.segment)
        if segment.state == "paused":
            raise UserError(
                "SEGMENT_PAUSED",
                f"segment {feed.segment} is paused: the feed begins when it is resumed",
                segment=feed.segment,
            )
        self._require_consent()
        self._await_activations()
        request = CutRequested(
            cut_id=fresh_id(), tenant=feed.tenant, segment=feed.segment, at_us=(now_ms() + AHEAD_MS) * 1000
        )
        cut: FeedCut | None = None
        try:
            cuts = ask_for_cuts(parts.settings, request, time.monotonic() + CUT_S, each=self._step)
            positions = beginning(cuts, with_members=feed.sends_members)
            if feed.sends_members:
                cut = FeedCut(cut_id=request.cut_id, parts=tuple(map(CutPart.of, cuts)))
            if not parts.feeds.begin(self._held, topic_id, positions, cut):
                cut = None
                raise StoppedError
        finally:
            if cut is None:
                parts.objects.delete_prefix(parts.settings.staging_bucket, cut_prefix(request.cut_id))
        return positions, cut

    def _await_activations(self) -> None:
        """Until workers know every segment: before that, they would not answer."""
        deadline = time.monotonic() + CUT_S
        while not self._parts.activations.all_sent(self._held.feed.tenant):
            self._step()
            if time.monotonic() > deadline:
                raise RetriableError("SEGMENT_NOT_READY", "workers do not know all segments of the tenant yet")
            time.sleep(POLL_S)

    def _deliver_members(self, target: Target, cut: FeedCut | None) -> None:
        """Step 2."""
        beginning = [partition for partition in self._partitions.values() if partition.position.seq == MEMBERS]
        parts = {} if cut is None else {part.partition: part for part in cut.parts}
        if missing := [partition.number for partition in beginning if partition.number not in parts]:
            raise LostPositionError(f"the members of partitions {missing} are unknown")
        if cut is None:
            return
        for partition in beginning:
            part = parts[partition.number]
            for batch in _batches(partition.members(cut.cut_id, part, self._users(part)), target.most):
                self._step()
                self._deliver(target, batch)
                self._record_if_due(None)
        for batch in _batches((one.reset(cut.cut_id, parts[one.number]) for one in beginning), target.most):
            self._deliver(target, batch)
        self._record(None)
        self._remove(cut)

    def _users(self, part: CutPart) -> Iterator[str]:
        try:
            yield from members_of(self._parts.s3, part.part)
        except FatalError as exc:
            raise LostPositionError(str(exc)) from exc

    def _follow(self, target: Target, reader: ChangesReader, topic_id: str) -> None:
        """Steps 3 and 4."""
        waiting: deque[FeedEvent] = deque()
        while True:
            self._step()
            self._require_consent_within(REST_S)
            if self._parts.topic_id() != topic_id:
                raise LostPositionError("the topic was created again")
            while len(waiting) < target.most:
                records = reader.read(0.0 if waiting else WAIT_S)
                for record in records:
                    waiting.extend(self._partitions[record.partition].take(record.offset, record.value))
                if not records or not waiting:
                    break
            if waiting:
                self._deliver(target, [waiting.popleft() for _ in range(min(target.most, len(waiting)))])
            # What other segments' messages leave behind them.
            busy = {event.partition for event in waiting}
            self._delivered |= {p: one.position for p, one in self._partitions.items() if p not in busy}
            self._record_if_due(reader)

    def _require_consent_within(self, seconds: float) -> None:
        """Unless it was found so long ago at most, and for the rules of all messages that were read."""
        read = {one.rule_version for one in self._partitions.values() if one.rule_version is not None}
        if time.monotonic() - self._permitted_s >= seconds or not read <= self._permitted:
            self._require_consent()
            self._permitted = read

    def _require_consent(self) -> None:
        """Halt the feed if its segment may have people who must not be sent. All leave a segment that is deleted.

        What is left of the members or changes may name such people, so that the feed begins again when it is resumed.
        """
        feed, parts = self._held.feed, self._parts
        try:
            segment = parts.segments.get(feed.tenant, feed.segment)
            require_consent(parts.consent.of(feed.tenant), feed.segment, parts.segments.rule(segment), feed.target)
        except UserError as exc:
            if exc.code == "FEED_WITHOUT_CONSENT":
                self.record()
                parts.feeds.halt(self._held, exc, None, now_ms(), begins_again=True)
                self._remove(feed.cut)
                raise RefusedError(exc, skippable=False) from exc
            if exc.code != "UNKNOWN_SEGMENT":
                raise
        self._permitted_s = time.monotonic()

    def _deliver(self, target: Target, events: list[FeedEvent]) -> None:
        self._require_consent_within(RECORD_S)
        after = {event.partition: event.after for event in events}
        try:
            target.deliver(events)
        except RefusedError as exc:
            self._record(None)
            refused = Refused(events=len(events), after=after) if exc.skippable else None
            self._parts.feeds.halt(self._held, exc.why, refused, now_ms())
            raise
        self._delivered |= after
        self._count += len(events)

    def _record_if_due(self, reader: ChangesReader | None) -> None:
        if time.monotonic() - self._recorded_s < (RECORD_S if self._count else REST_S):
            return
        behind = None if reader is None else reader.behind({p: at.offset for p, at in self._delivered.items()})
        if self._count or self._recorded != (self._delivered, behind):  # each commit wakes the control plane
            self._record(behind)
        self._recorded_s = time.monotonic()

    def record(self) -> None:
        """Record what is delivered, at the end of a run. Has no effect if the lease is lost."""
        if self._count:
            self._record(None)

    def _record(self, behind: int | None) -> None:
        members = any(at.seq == MEMBERS for at in self._delivered.values())
        kept = self._parts.feeds.advance(
            self._held,
            self._delivered,
            delivered=self._count,
            behind=behind,
            members=members,
            now_ms=now_ms(),
        )
        if not kept:
            raise StoppedError
        self._recorded = (dict(self._delivered), behind)
        self._count, self._recorded_s = 0, time.monotonic()

    def _remove(self, cut: FeedCut | None) -> None:
        if cut is not None:
            self._parts.objects.delete_prefix(self._parts.settings.staging_bucket, cut_prefix(cut.cut_id))


def _batches(events: Iterator[FeedEvent], most: int) -> Iterator[list[FeedEvent]]:
    while batch := list(islice(events, most)):
        yield batch
