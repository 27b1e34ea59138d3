"""The committer of the archive: appends files that workers have written, and reports back how far the tables go.

1. Collect announcements for a moment, from the committed offset of the group on.
2. Send whatever is not an announcement to the dead letters.
3. Append the ranges of each topic in order, in one commit. The table has each range once and none in part.
4. Report the end of every partition that a range came from, also where the range was already there or was refused: the
   worker then starts a new file at that end.
5. Once the broker has acknowledged the reports, commit the offsets of the announcements.
A step that meets an outage is retried. After a crash, the next instance starts at 1 with the same announcements. The
ends of all partitions are repeated periodically, so that a late report of a frozen instance does not last.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol

from confluent_kafka import KafkaException, Message

from connectors.kafka.topic_ids import TopicIds
from connectors.lake.archive import ActivityArchive
from connectors.lake.archive_commit import Appended
from orchestration.control.group_consumer import GroupConsumer, raise_if_fatal
from orchestration.control.producer import ControlPlaneProducer, Outgoing
from orchestration.control.retrying import Retrying, Stopped
from orchestration.platform.clock import now_ms
from schemas.codec import CODEC, UndecodableError
from schemas.counters import Counters
from schemas.ids import Partition
from schemas.messages import DeadLetter
from schemas.metrics import ARCHIVE_RANGES
from schemas.segment_messages import ArchiveCommitted, ArchiveWritten
from schemas.topics import ACTIVITY_TOPICS, ARCHIVE, ARCHIVE_COMMITS, ARCHIVE_GROUP, DEAD_LETTERS
from segmentation.archiving import Verdict

LINGER_S: Final = 2.0
"""A commit of one range costs as much as one of hundreds, and each leaves metadata behind."""
BATCH: Final = 500
REPORT_EVERY_MS: Final = 60_000
RESULTS: Final[Mapping[Verdict, str]] = {
    Verdict.APPEND: "appended",
    Verdict.KNOWN: "known",
    Verdict.REFUSED: "refused",
}
_log = logging.getLogger(__name__)


class Archive(Protocol):
    """See `connectors.lake.archive.ActivityArchive`."""

    def append(self, topic: str, ranges: Sequence[ArchiveWritten], *, topic_id: str | None = None) -> Appended:
        """See there."""
        ...

    def archived_to(self, topic: str, *, topic_id: str | None = None) -> Mapping[Partition, int]:
        """See there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A record of the topic `ARCHIVE`."""

    offset: int
    key: bytes | None
    value: bytes | None


def read_announcements(
    announcements: Iterable[Announcement], now_us: int
) -> tuple[Sequence[ArchiveWritten], Sequence[DeadLetter]]:
    """Step 2: the ranges by topic in order of arrival, and the records that are not announcements."""
    ranges: list[ArchiveWritten] = []
    letters: list[DeadLetter] = []
    for announcement in announcements:
        try:
            message = CODEC.decode(announcement.value)
            if not isinstance(message, ArchiveWritten):
                raise UndecodableError(f"a {type(message).__name__} does not belong in {ARCHIVE}")
            if message.topic not in ACTIVITY_TOPICS:
                raise UndecodableError(f"{message.topic} has no archive")
        except UndecodableError as exc:
            letters.append(
                DeadLetter(
                    topic=ARCHIVE,
                    partition=Partition(0),
                    offset=announcement.offset,
                    key=announcement.key,
                    value=announcement.value or b"",
                    reason=str(exc),
                    failed_at_us=now_us,
                )
            )
        else:
            ranges.append(message)
    return sorted(ranges, key=lambda written: written.topic), letters


def commits(topic: str, ends: Mapping[Partition, int]) -> list[Outgoing]:
    """Reports of the ends of partitions to workers."""
    return [
        Outgoing(
            topic=ARCHIVE_COMMITS,
            key=f"{topic}/{partition}".encode(),
            message=ArchiveCommitted(topic=topic, partition=partition, end_offset=end),
        )
        for partition, end in sorted(ends.items())
    ]


class ArchiveCommitter:
    """Steps 2 to 4. Every method raises what the archive and the producer raise."""

    def __init__(
        self,
        archive: Archive,
        topic_id: Callable[[str], str],
        send: Callable[[Iterable[Outgoing]], None],
        retrying: Retrying,
        counters: Counters,
    ) -> None:
        self._archive = archive
        self._topic_id = topic_id
        self._send = send
        self._retrying = retrying
        self._counters = counters

    def handle(self, announcements: Iterable[Announcement], now_us: int) -> None:
        """Return once the announcements may be committed."""
        ranges, letters = read_announcements(announcements, now_us)
        outgoing = [Outgoing(topic=DEAD_LETTERS, key=letter.topic.encode(), message=letter) for letter in letters]
        for letter in letters:
            _log.error("skipped: %s/0 offset=%d: %s", ARCHIVE, letter.offset, letter.reason)
        for topic, topic_ranges in groupby(ranges, lambda written: written.topic):
            outgoing += self._append(topic, list(topic_ranges))
        self._retrying.until_done(lambda: self._send(outgoing))

    def report_ends(self) -> None:
        """Report the ends of all partitions."""
        for topic in ACTIVITY_TOPICS:
            self._send(commits(topic, self._archive.archived_to(topic, topic_id=self._topic_id(topic))))

    def _append(self, topic: str, ranges: Sequence[ArchiveWritten]) -> list[Outgoing]:
        """Step 3."""

        def append() -> Appended:
            return self._archive.append(topic, ranges, topic_id=self._topic_id(topic))

        appended = self._retrying.until_done(append)
        for number, (written, verdict) in enumerate(zip(ranges, appended.verdicts, strict=True)):
            offsets = f"{topic}/{written.partition} {written.first_offset}..{written.end_offset}"
            fault = appended.unusable.get(number)
            if fault is not None:
                _log.error("range %s cannot be archived: %s", offsets, fault)
            elif verdict is Verdict.REFUSED:
                _log.warning("range %s refused: the table ends at %s", offsets, appended.archived_to[written.partition])
            self._counters.add(ARCHIVE_RANGES, topic=topic, result=RESULTS[verdict] if fault is None else "unusable")
        reported = {written.partition for written in ranges}
        # A partition without an end has nothing to report: its worker announces the range again.
        return commits(topic, {p: end for p, end in appended.archived_to.items() if p in reported})


class ArchiveConsumer:
    """Consumes announcements in its own thread until `stop` is set. Of several instances, one is assigned the topic."""

    def __init__(self, archive: ActivityArchive, bootstrap: str, stop: threading.Event, counters: Counters) -> None:
        self._stop = stop
        self._consumer = GroupConsumer(bootstrap, ARCHIVE_GROUP, ARCHIVE)
        self._retrying = Retrying(stop.wait)
        self._committer = ArchiveCommitter(
            archive, TopicIds(bootstrap).topic_id, ControlPlaneProducer(bootstrap).send, self._retrying, counters
        )
        self._reported_ms = 0

    def run(self) -> None:
        """Consume until stopped. Raises `FatalError` when Kafka or the lake refuse for good."""
        try:
            while not self._stop.is_set():
                self._handle(self._consumer.consume(BATCH, LINGER_S))  # 1
                self._report()
        except Stopped:
            pass
        finally:
            self._consumer.close()

    def _handle(self, messages: list[Message]) -> None:
        announcements = []
        for message in messages:
            if (error := message.error()) is not None:
                raise_if_fatal(error, ARCHIVE)
                continue
            offset = message.offset()
            assert offset is not None  # noqa: S101  # it was read
            announcements.append(Announcement(offset=offset, key=message.key(), value=message.value()))
        if not announcements:
            return
        self._committer.handle(announcements, now_ms() * 1000)
        try:
            self._consumer.commit()  # 5
        except KafkaException as exc:  # records that are read again are known; the next commit covers these too
            _log.warning("offsets of %s were not committed: %s", ARCHIVE, exc)

    def _report(self) -> None:
        if not self._consumer.assigned() or now_ms() - self._reported_ms < REPORT_EVERY_MS:
            return
        self._retrying.until_done(self._committer.report_ends)
        self._reported_ms = now_ms()
