from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from connectors.publishing.attempts import ActivityAttempt
from connectors.publishing.backlog import BacklogLimit
from connectors.publishing.importer import publish_import
from connectors.publishing.ports import Delivery, Superseded
from connectors.publishing.reports import PublishReport
from connectors.sources.rejects import Reject, RejectBatch, RejectCode
from connectors.verification.evidence import Evidence
from connectors.verification.verifier import verify_rows
from schemas.activity_columns import EVENT_COLUMNS
from schemas.arrow import arrow_schema
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import Attempt, JobId, Partition, TenantName
from schemas.import_spec import ImportSpec
from schemas.messages import EventChunk
from segmentation.intake.events import ingest_events
from segmentation.intake.topic_records import TopicRecord
from tests.fakes.import_log import GivenRows, InMemoryTopicLog, NoRejects, ScriptedFence, SteppingClock, StepWorkers

SPEC = ImportSpec(kind="events", mode="append", columns=EVENT_COLUMNS, max_reject_share=1.0)
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
NOON_US = 1_795_608_000_000_000
ATTEMPT = ActivityAttempt(
    kind="events",
    tenant=TenantName("acme"),
    source="s3://inbox/acme/orders.csv?versionId=7",
    import_id=JobId("01jd0000000000000000000000"),
    attempt=Attempt(2),
    partitions=2,
    columns=SPEC.row_schema,
)


def batch(*users: str) -> pa.RecordBatch:
    rows = [{"_ordinal": n, "user_id": u, "event": "order", "occurred_at": NOON} for n, u in enumerate(users)]
    return pa.RecordBatch.from_pylist(rows, schema=arrow_schema(SPEC.row_schema, ordinal=True))


ROWS = batch("21", "foobar", "abc", "21")  # murmur2 mod 2: 21 -> 0, foobar -> 0, abc -> 1
REJECTS = RejectBatch.of([Reject(ordinal=4, line=6, code=RejectCode.BAD_EVENT, reason="event is missing")])


def evidence_of(*items: pa.RecordBatch | RejectBatch) -> Evidence:
    return verify_rows(GivenRows(*items), SPEC, partitions=2, rejects=NoRejects())


def publish(rows: GivenRows, evidence: Evidence, log: InMemoryTopicLog, **options: Any) -> PublishReport:
    options = {
        "backlog": StepWorkers(log),
        "fence": ScriptedFence(),
        "on_progress": lambda _: None,
        "clock": SteppingClock(0.01),
        **options,
    }
    attempt = options.pop("attempt", ATTEMPT)
    return publish_import(rows, attempt, evidence=evidence, log=log, **options)


def events(log: InMemoryTopicLog) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number, values in enumerate(log.messages):
        records = [
            TopicRecord(
                topic="muster.events",
                partition=Partition(number),
                offset=offset,
                key=None,
                value=value,
                received_at_us=NOON_US,
            )
            for offset, value in enumerate(values)
        ]
        intake = ingest_events(records, 2)
        assert intake.refusals == ()
        found += intake.rows.to_pylist()
    return found


def test_every_accepted_row_is_sent_in_chunks_without_markers() -> None:
    log = InMemoryTopicLog(2)
    report = publish(GivenRows(ROWS, REJECTS), evidence_of(ROWS, REJECTS), log)
    assert [log.kinds(p) for p in (0, 1)] == [["EventChunk"]] * 2
    assert [(row["user_id"], row["tenant"]) for row in events(log)] == [
        ("21", "acme"),
        ("foobar", "acme"),
        ("21", "acme"),
        ("abc", "acme"),
    ]
    assert (report.rows, report.topic) == (4, log.topic)
    assert [(s.chunks, s.records, s.end_offset) for s in report.partitions] == [(1, 3, 0), (1, 1, 0)]
    [chunk] = log.decoded(0)
    assert isinstance(chunk, EventChunk)
    assert chunk.digest == report.partitions[0].digest
    assert (chunk.source, chunk.attempt) == ("s3://inbox/acme/orders.csv?versionId=7", 2)


def test_empty_partition_gets_no_messages() -> None:
    log = InMemoryTopicLog(2)
    rows = batch("21")
    report = publish(GivenRows(rows), evidence_of(rows), log)
    assert log.messages[1] == []
    assert [(s.chunks, s.records, s.end_offset) for s in report.partitions] == [(1, 1, 0), (0, 0, -1)]


class LateLog(InMemoryTopicLog):
    """Acknowledges nothing before it is flushed."""

    def poll(self, timeout_s: float) -> tuple[Delivery, ...]:
        del timeout_s
        return ()

    def flush(self, timeout_s: float) -> tuple[Delivery, ...]:
        return super().poll(timeout_s)


def test_attempt_ends_after_all_acknowledgements() -> None:
    log = LateLog(2)
    report = publish(GivenRows(ROWS), evidence_of(ROWS), log)
    assert (log.unacknowledged(), [s.end_offset for s in report.partitions]) == (0, [0, 0])


def test_attempt_after_a_crash_resends_everything_and_events_count_once() -> None:
    log = InMemoryTopicLog(2, fail_at=2, fail=RetriableError("KAFKA_UNAVAILABLE", "gone"))
    with pytest.raises(RetriableError):
        publish(GivenRows(ROWS), evidence_of(ROWS), log)
    assert log.abandoned
    assert sum(map(len, log.messages)) == 1
    again = replace(ATTEMPT, attempt=Attempt(3))
    publish(GivenRows(ROWS), evidence_of(ROWS), log, attempt=again)
    found = [(row["user_id"], row["event"], row["occurred_at"], row["identity"]) for row in events(log)]
    assert len(found) > 4
    assert sorted(user for user, *_ in set(found)) == ["21", "21", "abc", "foobar"]


def test_unverified_rows_fail_the_attempt_and_name_the_partition() -> None:
    with pytest.raises(FatalError, match="partition 1: 1 rows with digest") as error:
        publish(GivenRows(batch("21", "abc")), evidence_of(batch("21", "abx")), InMemoryTopicLog(2))
    assert error.value.code == "EVIDENCE_MISMATCH"


def test_file_of_another_size_counts_as_changed() -> None:
    with pytest.raises(UserError) as error:
        publish(GivenRows(batch("21"), source_bytes=99), evidence_of(batch("21", "abc")), InMemoryTopicLog(2))
    assert error.value.code == "SOURCE_CHANGED"


def test_topic_with_another_partition_count_is_refused_before_sending() -> None:
    log = InMemoryTopicLog(3)
    with pytest.raises(FatalError) as error:
        publish(GivenRows(ROWS), evidence_of(ROWS), log)
    assert (error.value.code, log.messages) == ("TOPIC_PARTITIONS_CHANGED", [[], [], []])


def test_superseded_attempt_stops() -> None:
    log = InMemoryTopicLog(2)
    with pytest.raises(Superseded):
        publish(GivenRows(ROWS), evidence_of(ROWS), log, fence=ScriptedFence(stop_at=1, stop=Superseded))
    assert (log.abandoned, log.messages) == (True, [[], []])


def test_chunks_wait_for_their_readers() -> None:
    log = InMemoryTopicLog(2)
    many = batch(*(["21"] * 20_000))
    workers = StepWorkers(log)
    publish(GivenRows(many), evidence_of(many), log, backlog=workers, limit=BacklogLimit(chunks=1))
    assert (len(log.messages[0]), workers.largest_backlog) == (4, 1)


def test_final_progress_is_reported() -> None:
    reported: list[int] = []
    publish(GivenRows(ROWS), evidence_of(ROWS), InMemoryTopicLog(2), on_progress=lambda p: reported.append(p.rows))
    assert reported[-1] == 4
