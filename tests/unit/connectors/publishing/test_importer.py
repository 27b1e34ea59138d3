from typing import Any

import pyarrow as pa
import pytest

from connectors.publishing.backlog import BacklogLimit
from connectors.publishing.importer import publish_aborted, publish_import
from connectors.publishing.ports import Cancelled, Delivery, Superseded
from connectors.publishing.reports import PublishProgress, PublishReport
from connectors.sources.rejects import Reject, RejectBatch, RejectCode
from connectors.verification.evidence import Evidence
from connectors.verification.verifier import verify_rows
from schemas.arrow import arrow_schema
from schemas.codec import CODEC
from schemas.columns import RowSchema
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import Attempt, JobId, Partition
from schemas.import_spec import ImportSpec
from schemas.messages import ImportAborted, ImportEnded, ImportStarted, UserChunk
from schemas.records import as_record
from schemas.rows import decode_rows
from tests.fakes.import_log import (
    GivenRows,
    InMemoryTopicLog,
    NoRejects,
    ScriptedFence,
    SteppingClock,
    StepWorkers,
    audience_attempt,
)

IMPORT = JobId("01jd0000000000000000000000")
SCHEMA = RowSchema()


def batch(*users: str, first_ordinal: int = 0) -> pa.RecordBatch:
    ordinals = range(first_ordinal, first_ordinal + len(users))
    return pa.RecordBatch.from_arrays(
        [pa.array(ordinals, pa.int64()), pa.array(users, pa.string())], schema=arrow_schema(SCHEMA, ordinal=True)
    )


def evidence_of(*items: pa.RecordBatch | RejectBatch, partitions: int) -> Evidence:
    spec = ImportSpec(allow_empty=True, max_reject_share=1.0)
    return verify_rows(GivenRows(*items), spec, partitions=partitions, rejects=NoRejects())


def publish(
    rows: GivenRows, evidence: Evidence, log: InMemoryTopicLog, *, partitions: int = 2, **options: Any
) -> PublishReport:
    options = {
        "backlog": StepWorkers(log),
        "fence": ScriptedFence(),
        "on_progress": lambda _: None,
        "clock": SteppingClock(0.01),
        **options,
    }
    return publish_import(rows, audience_attempt(partitions), evidence=evidence, log=log, **options)


def test_every_partition_gets_matching_start_chunks_and_end() -> None:
    users = batch("21", "foobar", "abc")  # murmur2 mod 2: 21 -> 0, foobar -> 0, abc -> 1
    log = InMemoryTopicLog(2)
    report = publish(GivenRows(users), evidence_of(users, partitions=2), log)

    assert [log.kinds(p) for p in (0, 1)] == [["ImportStarted", "UserChunk", "ImportEnded"]] * 2
    started, chunk, ended = log.decoded(0)
    assert isinstance(started, ImportStarted)
    assert (started.partition, started.partitions, started.attempt, started.mode) == (0, 2, 2, "replace")
    assert started.source == "s3://inbox/acme/vip/users.csv?versionId=7"
    assert isinstance(chunk, UserChunk)
    assert decode_rows(chunk.rows).to_pydict() == {"_ordinal": [0, 1], "user_id": ["21", "foobar"]}
    assert isinstance(ended, ImportEnded)
    assert (ended.chunks, ended.records, ended.digest) == (1, 2, chunk.digest)
    assert ended.data_prefix == "s3://lake/audiences/acme/x/data/"
    assert (report.rows, [(s.chunks, s.records, s.end_offset) for s in report.partitions]) == (
        3,
        [(1, 2, 2), (1, 1, 2)],
    )
    assert report.bytes == sum(len(value) for partition in log.messages for value in partition)


def test_empty_partition_gets_a_start_and_an_end() -> None:
    users = batch("21", "foobar")
    log = InMemoryTopicLog(2)
    publish(GivenRows(users), evidence_of(users, partitions=2), log)
    _, ended = log.decoded(1)
    assert isinstance(ended, ImportEnded)
    assert (ended.chunks, ended.records, ended.digest.sum0) == (0, 0, 0)


def test_allowed_empty_file_sends_two_markers_to_every_partition() -> None:
    log = InMemoryTopicLog(3)
    report = publish(GivenRows(), evidence_of(partitions=3), log, partitions=3)
    assert [log.kinds(p) for p in range(3)] == [["ImportStarted", "ImportEnded"]] * 3
    assert report.rows == 0


def test_rejects_are_not_sent() -> None:
    rejects = RejectBatch.of([Reject(ordinal=1, line=3, code=RejectCode.ID_EMPTY, reason="the id is empty")])
    users = batch("21", "foobar")
    log = InMemoryTopicLog(2)
    report = publish(GivenRows(users, rejects), evidence_of(users, rejects, partitions=2), log)
    assert report.rows == 2


def test_topic_with_another_partition_count_is_refused_before_sending() -> None:
    log = InMemoryTopicLog(3)
    with pytest.raises(FatalError, match="has 3 partitions, but the job was registered with 2") as error:
        publish(GivenRows(), evidence_of(partitions=2), log)
    assert error.value.code == "TOPIC_PARTITIONS_CHANGED"
    assert log.messages == [[], [], []]


def test_unverified_rows_send_no_end_marker_and_name_the_partition() -> None:
    log = InMemoryTopicLog(2)
    with pytest.raises(FatalError, match="partition 1: 1 rows with digest") as error:
        publish(GivenRows(batch("21", "abc")), evidence_of(batch("21", "abx"), partitions=2), log)
    assert (error.value.code, error.value.detail["partition"]) == ("EVIDENCE_MISMATCH", 1)
    assert "ImportEnded" not in log.kinds(0) + log.kinds(1)
    assert log.abandoned


class LateBroker(InMemoryTopicLog):
    """Acknowledges only on flush; notes which messages were in flight when an end marker was offered."""

    def __init__(self, partitions: int) -> None:
        super().__init__(partitions)
        self.under_way: list[list[str]] = []

    def offer(self, partition: Partition, value: bytes | None, key: bytes | None = None) -> bool:
        if isinstance(CODEC.decode(value or b""), ImportEnded):
            self.under_way.append([type(CODEC.decode(queued or b"")).__name__ for _, queued, _ in self._queue])
        return super().offer(partition, value, key)

    def poll(self, timeout_s: float) -> tuple[Delivery, ...]:
        del timeout_s
        return ()

    def flush(self, timeout_s: float) -> tuple[Delivery, ...]:
        return super().poll(timeout_s)


def test_end_markers_wait_for_all_chunks() -> None:
    log, users = LateBroker(2), batch("21", "foobar", "abc")
    publish(GivenRows(users), evidence_of(users, partitions=2), log)
    assert [log.kinds(p)[-1] for p in (0, 1)] == ["ImportEnded"] * 2
    assert log.under_way == [[], ["ImportEnded"]]


def test_comparison_detects_a_duplicate_row() -> None:
    log = InMemoryTopicLog(2)
    with pytest.raises(FatalError, match="EVIDENCE_MISMATCH: partition 0: 3 rows"):
        publish(GivenRows(batch("21", "21", "21")), evidence_of(batch("21"), partitions=2), log)


def test_file_of_another_size_than_verified_counts_as_changed() -> None:
    log = InMemoryTopicLog(2)
    rows = GivenRows(batch("21", "abc"), source_bytes=120, decoded_bytes=120)
    with pytest.raises(UserError, match=r"120 bytes .* verification read 100") as error:
        publish(rows, evidence_of(batch("21"), partitions=2), log)
    assert error.value.code == "SOURCE_CHANGED"
    assert "ImportEnded" not in log.kinds(0)


def test_source_fault_midway_sends_no_end_marker() -> None:
    log = InMemoryTopicLog(2)
    users = batch("21")
    with pytest.raises(UserError, match="SOURCE_CHANGED"):
        publish(
            GivenRows(users, fault=UserError("SOURCE_CHANGED", "the object was overwritten")),
            evidence_of(users, partitions=2),
            log,
        )
    assert log.kinds(0)[:1] == ["ImportStarted"]
    assert "ImportEnded" not in log.kinds(0)
    assert log.abandoned


@pytest.mark.parametrize("stop", [Superseded, Cancelled])
@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_fenced_attempt_stops_without_end_markers(stop: type[Exception], stop_at: int) -> None:
    users = batch("21")
    log = InMemoryTopicLog(2)
    fence = ScriptedFence(stop_at=stop_at, stop=stop)
    with pytest.raises(stop):
        publish(GivenRows(users), evidence_of(users, partitions=2), log, fence=fence, clock=SteppingClock(0.3))
    assert "ImportEnded" not in log.kinds(0) + log.kinds(1)
    assert fence.asked == stop_at


def test_fence_is_checked_right_before_the_end_markers() -> None:
    users = batch("21")
    log = InMemoryTopicLog(2)
    fence = ScriptedFence(stop_at=2, stop=Superseded)
    with pytest.raises(Superseded):  # the clock stands still, so the fence is only checked at start and end
        publish(GivenRows(users), evidence_of(users, partitions=2), log, fence=fence, clock=SteppingClock(0))
    assert log.kinds(0) == ["ImportStarted", "UserChunk"]


def test_message_refused_by_the_broker_fails_the_attempt() -> None:
    users = batch("21")
    log = InMemoryTopicLog(2, fail_at=3, fail=RetriableError("KAFKA_UNAVAILABLE", "sending: timed out"))
    with pytest.raises(RetriableError, match="KAFKA_UNAVAILABLE"):
        publish(GivenRows(users), evidence_of(users, partitions=2), log)
    assert "ImportEnded" not in log.kinds(0) + log.kinds(1)


def test_a_full_queue_waits_and_loses_nothing() -> None:
    batches = [batch(*[f"user-{n}" for n in range(20_000)])]
    log = InMemoryTopicLog(2, room=1)
    report = publish(GivenRows(*batches), evidence_of(*batches, partitions=2), log)
    assert report.rows == 20_000
    assert sum(chunk.count for p in (0, 1) for chunk in log.decoded(p) if isinstance(chunk, UserChunk)) == 20_000


def test_backlog_stays_within_the_limit() -> None:
    batches = [batch(*[f"user-{n}-{k}" for k in range(12_000)], first_ordinal=n * 12_000) for n in range(10)]
    log = InMemoryTopicLog(1)
    workers = StepWorkers(log)
    publish(
        GivenRows(*batches),
        evidence_of(*batches, partitions=1),
        log,
        partitions=1,
        backlog=workers,
        limit=BacklogLimit(chunks=4, bytes=10**9),
    )
    assert log.kinds(0).count("UserChunk") == 24
    assert workers.asked >= 5
    assert workers.largest_backlog <= 4


def test_bytes_bound_the_backlog_as_well() -> None:
    batches = [batch(*[f"user-{n}-{k}" for k in range(5_000)], first_ordinal=n * 5_000) for n in range(10)]
    log = InMemoryTopicLog(1)
    workers = StepWorkers(log)
    limit = BacklogLimit(chunks=10**6, bytes=250_000)  # one of these chunks has about 120,000 bytes
    publish(GivenRows(*batches), evidence_of(*batches, partitions=1), log, partitions=1, backlog=workers, limit=limit)
    assert workers.largest_backlog <= 4  # the start marker, and three chunks that pass the limit together


def test_waiting_for_slow_workers_ends_at_the_fence() -> None:
    users = batch(*[f"user-{k}" for k in range(30_000)])
    log = InMemoryTopicLog(1)
    with pytest.raises(Cancelled):
        publish(
            GivenRows(users),
            evidence_of(users, partitions=1),
            log,
            partitions=1,
            backlog=StepWorkers(log, lazy=True),
            fence=ScriptedFence(stop_at=50, stop=Cancelled),
            limit=BacklogLimit(chunks=2, bytes=10**9),
        )
    assert log.kinds(0) == ["ImportStarted", "UserChunk"]


class UnknownBacklog:
    def committed(self) -> tuple[int, ...]:
        raise RetriableError("KAFKA_UNAVAILABLE", "no coordinator")


def test_unknown_worker_positions_eventually_fail_the_attempt() -> None:
    users = batch(*[f"user-{k}" for k in range(30_000)])
    log = InMemoryTopicLog(1)
    fence = ScriptedFence()
    with pytest.raises(RetriableError, match="no coordinator"):
        publish(
            GivenRows(users),
            evidence_of(users, partitions=1),
            log,
            partitions=1,
            backlog=UnknownBacklog(),
            fence=fence,
            limit=BacklogLimit(chunks=2, bytes=10**9),
        )
    assert 100 <= fence.asked <= 140  # once a second for two minutes


def test_progress_ends_with_the_rows_of_every_partition() -> None:
    users = batch("21", "foobar", "abc")
    log = InMemoryTopicLog(2)
    seen: list[PublishProgress] = []
    publish(GivenRows(users), evidence_of(users, partitions=2), log, on_progress=seen.append)
    assert (seen[-1].rows, seen[-1].partitions) == (3, (2, 1))
    assert 0 < seen[-2].bytes < seen[-1].bytes  # before and after the end markers
    assert seen[-1].bytes == sum(len(value) for partition in log.messages for value in partition)


def test_abort_reaches_every_remaining_partition() -> None:
    log = InMemoryTopicLog(2, room=1)
    publish_aborted(log, import_id=IMPORT, attempt=Attempt(2), partitions=3, reason="cancelled by ops")
    assert [log.decoded(p) for p in (0, 1)] == [
        [ImportAborted(import_id=IMPORT, attempt=Attempt(2), partition=Partition(p), reason="cancelled by ops")]
        for p in (0, 1)
    ]


def test_a_report_is_plain_json() -> None:
    users = batch("21")
    log = InMemoryTopicLog(1)
    report = publish(GivenRows(users), evidence_of(users, partitions=1), log, partitions=1)
    assert as_record(report) == {
        "import_id": IMPORT,
        "attempt": 2,
        "topic": "muster.imports",
        "rows": 1,
        "bytes": report.bytes,
        "partitions": [
            {
                "partition": 0,
                "chunks": 1,
                "records": 1,
                "digest": str(report.partitions[0].digest),
                "end_offset": 2,
            }
        ],
    }


def test_progress_reports_the_offsets_of_each_partition() -> None:
    users = batch("21", "foobar", "abc")
    log = InMemoryTopicLog(2)
    log.messages[1].append(b"of another import")
    reported: list[PublishProgress] = []
    publish(GivenRows(users), evidence_of(users, partitions=2), log, on_progress=reported.append)
    assert reported[-1].offsets == ((0, 2), (1, 3))  # start, chunk, end marker
