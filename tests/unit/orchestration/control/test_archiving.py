"""What the archive's committer appends, announces and skips; tables and topics are in the integration tests."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from connectors.lake.archive_commit import Appended
from orchestration.control.archive_consumer import Announcement, ArchiveCommitter
from orchestration.control.producer import Outgoing
from orchestration.control.retrying import RETRY_MAX_S, RETRY_S, Retrying, Stopped
from schemas.codec import CODEC
from schemas.counters import Counters
from schemas.errors import FatalError, RetriableError
from schemas.ids import JobId, Partition
from schemas.messages import DeadLetter, ImportAborted, Message
from schemas.segment_messages import ArchiveCommitted, ArchiveWritten
from schemas.topics import ARCHIVE, ARCHIVE_COMMITS, DEAD_LETTERS, EVENTS, IMPORTS, PROFILES
from segmentation.archiving import Verdict, verdict

HERE, OTHER = Partition(3), Partition(0)
NOW_US = 1_764_000_000_000_000
BAD = "s3://lake/nothing.parquet"


def away() -> None:
    raise RetriableError("LAKE_UNAVAILABLE", "for a while")


@dataclass
class InMemoryArchive:
    """Two tables; a range with the file `BAD` is unusable. `outages`: number of `append` calls that fail first."""

    ends: dict[str, dict[Partition, int]] = field(default_factory=lambda: {EVENTS: {}, PROFILES: {}})
    appends: list[tuple[str, list[tuple[int, int]]]] = field(default_factory=list)
    outages: int = 0

    def append(self, topic: str, ranges: Sequence[ArchiveWritten], *, topic_id: str | None = None) -> Appended:
        assert topic_id == f"id of {topic}"
        if self.outages:
            self.outages -= 1
            away()
        ends = self.ends[topic]
        verdicts, unusable = [], {}
        for number, written in enumerate(ranges):
            verdicts.append(verdict(written, ends.get(written.partition)))
            if verdicts[-1] is Verdict.APPEND and BAD in written.files:
                verdicts[-1], unusable[number] = Verdict.REFUSED, "it is not there"
            elif verdicts[-1] is Verdict.APPEND:
                ends[written.partition] = written.end_offset
        self.appends.append((topic, [(written.first_offset, written.end_offset) for written in ranges]))
        return Appended(archived_to=dict(ends), verdicts=verdicts, unusable=unusable, files=0)

    def archived_to(self, topic: str, *, topic_id: str | None = None) -> Mapping[Partition, int]:
        assert topic_id == f"id of {topic}"
        return self.ends[topic]


@dataclass
class Sent:
    """Messages sent. `outages`: number of calls that fail first, after sending one message."""

    messages: list[Outgoing] = field(default_factory=list)
    outages: int = 0

    def send(self, messages: Iterable[Outgoing]) -> None:
        if self.outages:
            self.outages -= 1
            self.messages += list(messages)[:1]
            raise RetriableError("KAFKA_UNAVAILABLE", "for a while")
        self.messages += messages

    def ends(self) -> dict[str, int]:
        """Content of the compacted topic, by key."""
        return {
            out.key.decode(): out.message.end_offset
            for out in self.messages
            if isinstance(out.message, ArchiveCommitted) and out.topic == ARCHIVE_COMMITS
        }


class Committer:
    """The committer, its surroundings, and its waits."""

    def __init__(self, patience: int = 100) -> None:
        self.archive, self.sent, self.counters = InMemoryArchive(), Sent(), Counters()
        self.waits: list[float] = []

        def wait(seconds: float) -> bool:
            self.waits.append(seconds)
            return len(self.waits) >= patience

        self.committer = ArchiveCommitter(
            self.archive, lambda topic: f"id of {topic}", self.sent.send, Retrying(wait), self.counters
        )

    def take(self, *messages: Message | bytes | None) -> None:
        records = [
            Announcement(offset=7 + n, key=b"k", value=m if m is None or isinstance(m, bytes) else CODEC.encode(m))
            for n, m in enumerate(messages)
        ]
        self.committer.handle(records, NOW_US)

    def counted(self) -> dict[tuple[str, ...], float]:
        return {sample.labels: sample.value for sample in self.counters.samples()}


def written(first: int, end: int, partition: Partition = HERE, topic: str = EVENTS, *files: str) -> ArchiveWritten:
    return ArchiveWritten(topic=topic, partition=partition, first_offset=first, end_offset=end, files=files)


def test_ranges_of_a_topic_are_appended_together_and_their_ends_announced() -> None:
    it = Committer()
    it.take(written(0, 5), written(0, 3, topic=PROFILES), written(10, 20, OTHER), written(5, 9))
    assert it.archive.appends == [(EVENTS, [(0, 5), (10, 20), (5, 9)]), (PROFILES, [(0, 3)])]
    assert it.sent.ends() == {f"{EVENTS}/3": 9, f"{EVENTS}/0": 20, f"{PROFILES}/3": 3}
    assert len(it.sent.messages) == 3
    assert it.counted() == {(EVENTS, "appended"): 3, (PROFILES, "appended"): 1}


def test_known_and_refused_ranges_are_answered_with_the_end() -> None:
    it = Committer()
    it.archive.ends[EVENTS] = {HERE: 10, OTHER: 50, Partition(1): 4}
    it.take(written(0, 10), written(40, 60, OTHER))
    assert it.sent.ends() == {f"{EVENTS}/3": 10, f"{EVENTS}/0": 50}
    assert it.counted() == {(EVENTS, "known"): 1, (EVENTS, "refused"): 1}


def test_unappendable_range_is_refused_without_blocking_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = Committer()
    it.archive.ends[EVENTS] = {OTHER: 5}
    it.take(written(0, 9, HERE, EVENTS, BAD), written(5, 9, OTHER, EVENTS, BAD), written(5, 7, OTHER))
    assert it.sent.ends() == {f"{EVENTS}/0": 7}  # the other partition has no end to announce
    assert it.counted() == {(EVENTS, "unusable"): 2, (EVENTS, "appended"): 1}
    assert f"range {EVENTS}/3 0..9 cannot be archived: it is not there" in caplog.text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not Avro"),
        (b"{}", "not Avro"),
        (CODEC.encode(written(0, 9))[:-2], "broken ArchiveWritten"),
        (
            CODEC.encode(
                ImportAborted(import_id=JobId("0" * 26), attempt=1, partition=HERE, reason="")  # type: ignore[arg-type]
            ),
            "a ImportAborted does not belong in muster.archive",
        ),
        (CODEC.encode(written(0, 9, topic=IMPORTS)), "muster.imports has no archive"),
    ],
)
def test_invalid_announcement_becomes_a_dead_letter(value: bytes | None, reason: str) -> None:
    it = Committer()
    it.take(written(0, 5), value, written(5, 9))
    assert it.sent.ends() == {f"{EVENTS}/3": 9}
    [out] = [out for out in it.sent.messages if out.topic == DEAD_LETTERS]
    letter = out.message
    assert isinstance(letter, DeadLetter)
    assert (letter.topic, letter.partition, letter.offset, letter.key) == (ARCHIVE, 0, 8, b"k")
    assert (letter.value, letter.failed_at_us) == (value or b"", NOW_US)
    assert reason in letter.reason
    assert out.key == ARCHIVE.encode()


def test_lake_outage_delays_ranges_in_order() -> None:
    it = Committer()
    it.archive.outages = 6
    it.take(written(0, 5), written(5, 9))
    assert it.archive.appends == [(EVENTS, [(0, 5), (5, 9)])]
    assert it.waits == [RETRY_S, 2, 4, 8, RETRY_MAX_S, RETRY_MAX_S]


def test_kafka_outage_delays_announcements_without_appending_twice() -> None:
    it = Committer()
    it.sent.outages = 2
    it.take(written(0, 5), written(0, 3, OTHER))
    assert (it.sent.ends(), len(it.archive.appends)) == ({f"{EVENTS}/3": 5, f"{EVENTS}/0": 3}, 1)


def test_relay_ended_by_an_outage_announces_nothing_and_the_next_repeats_all() -> None:
    ending, next_one = Committer(patience=2), Committer()
    ending.archive.outages = 99
    with pytest.raises(Stopped):
        ending.take(written(0, 5))
    assert ending.sent.messages == []
    next_one.take(written(0, 5))
    assert next_one.sent.ends() == {f"{EVENTS}/3": 5}


def test_next_relay_announces_the_append_of_a_dead_one() -> None:
    first = Committer(patience=1)
    first.sent.outages = 99
    with pytest.raises(Stopped):
        first.take(written(0, 5))
    first.sent.outages, first.sent.messages = 0, []
    first.take(written(0, 5))
    assert first.sent.ends() == {f"{EVENTS}/3": 5}
    assert first.counted() == {(EVENTS, "appended"): 1, (EVENTS, "known"): 1}


def test_permanent_failure_ends_the_committer(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Committer()

    def broken(*_: object, **__: object) -> Appended:
        raise FatalError("LAKE_MISMATCH", "not what it was")

    monkeypatch.setattr(it.archive, "append", broken)
    with pytest.raises(FatalError, match="LAKE_MISMATCH"):
        it.take(written(0, 5))
    assert (it.sent.messages, it.waits) == ([], [])


def test_ends_of_all_partitions_are_announced_again() -> None:
    it = Committer()
    it.archive.ends = {EVENTS: {HERE: 9, OTHER: 5}, PROFILES: {OTHER: 2}}
    it.committer.report_ends()
    assert it.sent.ends() == {f"{EVENTS}/0": 5, f"{EVENTS}/3": 9, f"{PROFILES}/0": 2}
