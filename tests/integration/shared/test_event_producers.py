"""Events of ordinary producers on the real broker: their partitions, and forwarding of misplaced ones."""

import json
import subprocess
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Producer, TopicPartition

from connectors.kafka.logon import librdkafka_config
from connectors.publishing.attempts import ActivityAttempt
from connectors.publishing.importer import publish_import
from connectors.publishing.producer import KafkaTopicLog
from connectors.sources.digested import open_digested
from connectors.sources.parsing import open_parsed
from connectors.verification.verifier import verify_digested
from orchestration.platform.settings import Settings
from schemas.activity_columns import EVENT_ID_COLUMN, columns_of
from schemas.ids import DEFAULT_TENANT, Attempt, JobId, Partition
from schemas.import_spec import ImportSpec
from schemas.topics import EVENTS, PROFILES
from segmentation.intake.events import EventIntake, ingest_events
from segmentation.intake.profiles import ingest_profiles
from segmentation.intake.topic_records import Move, TopicRecord
from tests.fakes.import_log import NoRejects, ScriptedFence

pytestmark = pytest.mark.integration

P = 4
USERS = [f"user-{n}" for n in range(150)] + [f"利用者-{n}" for n in range(150)]
SCRIPT = Path(__file__).parents[3] / "docs" / "send_events.py"


class Log:
    """Records that reach a topic of the stack from now on."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.bootstrap = bootstrap
        self.topic = topic
        self._from = self._ends()

    def _ends(self) -> list[int]:
        consumer = self._consumer()
        try:
            return [consumer.get_watermark_offsets(TopicPartition(self.topic, p), timeout=10)[1] for p in range(P)]
        finally:
            consumer.close()

    def _consumer(self) -> Consumer:
        return Consumer({**librdkafka_config(self.bootstrap), "group.id": f"unused-{uuid.uuid4().hex}"})

    def read(self) -> list[list[TopicRecord]]:
        """Records of each partition since the last read."""
        ends, begins = self._ends(), self._from
        wanted = sum(ends) - sum(begins)
        consumer = self._consumer()
        consumer.assign([TopicPartition(self.topic, p, begins[p]) for p in range(P)])
        found: list[list[TopicRecord]] = [[] for _ in range(P)]
        while sum(map(len, found)) < wanted:
            message = consumer.poll(30)
            assert message is not None, "the broker does not answer"
            assert message.error() is None
            kind, stamp_ms = message.timestamp()
            assert kind == TIMESTAMP_LOG_APPEND_TIME
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            found[partition].append(
                TopicRecord(
                    topic=self.topic,
                    partition=Partition(partition),
                    offset=offset,
                    key=message.key(),
                    value=message.value(),
                    received_at_us=stamp_ms * 1000,
                )
            )
        consumer.close()
        self._from = ends
        return found

    def intakes(self) -> list[EventIntake]:
        return [ingest_events(records, P) for records in self.read()]


def lines(run: str) -> list[str]:
    return [
        json.dumps({"user_id": user, "event": run, "occurred_at": 1_700_000_000_000 + n, "properties": {"n": n}})
        for n, user in enumerate(USERS)
    ]


def sent_by_script(log: Log, records: Sequence[str]) -> None:
    command = [sys.executable, str(SCRIPT), log.bootstrap, log.topic]
    done = subprocess.run(command, input="\n".join(records), capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode) == (f"{len(records)} records taken\n", 0), done.stderr


def send_moves(log: Log, moves: Sequence[Move]) -> None:
    producer = Producer({**librdkafka_config(log.bootstrap), "enable.idempotence": True})
    for move in moves:
        producer.produce(log.topic, move.value, key=move.key, partition=move.partition)
    assert producer.flush(30) == 0


def users(intakes: Sequence[EventIntake]) -> list[str]:
    return [user for intake in intakes for user in intake.rows.column("user_id").to_pylist()]


def test_documented_event_producer_uses_the_right_partitions(stack: Settings) -> None:
    log = Log(stack.kafka_bootstrap, EVENTS)
    sent_by_script(log, lines(uuid.uuid4().hex))
    intakes = log.intakes()
    assert [(intake.moves, intake.refusals) for intake in intakes] == [((), ())] * P
    assert sorted(users(intakes)) == sorted(USERS)
    assert min(intake.rows.num_rows for intake in intakes) > 30


def test_events_of_another_partitioner_count_once_in_the_right_partition(stack: Settings) -> None:
    log = Log(stack.kafka_bootstrap, EVENTS)
    producer = Producer({**librdkafka_config(log.bootstrap)})  # librdkafka's default partitioner
    for user, line in zip(USERS, lines(uuid.uuid4().hex), strict=True):
        producer.produce(EVENTS, line.encode(), key=user.encode())
    assert producer.flush(30) == 0
    first = log.intakes()
    moves = [move for intake in first for move in intake.moves]
    assert len(moves) + len(users(first)) == len(USERS)
    assert len(moves) > len(USERS) // 2
    send_moves(log, moves)
    send_moves(log, moves)  # as if the sender had died before committing the offset
    second = log.intakes()
    assert [(intake.moves, intake.refusals) for intake in second] == [((), ())] * P
    events = {
        (row["user_id"], row["event"], row["occurred_at"], row["identity"])
        for intake in (*first, *second)
        for row in intake.rows.to_pylist()
    }
    assert sorted(user for user, *_ in events) == sorted(USERS)


def test_documented_profile_producer_uses_the_right_partitions(stack: Settings) -> None:
    log = Log(stack.kafka_bootstrap, PROFILES)
    sent_by_script(log, [json.dumps({"user_id": user, "attributes": {"n": n}}) for n, user in enumerate(USERS)])
    intakes = [ingest_profiles(records, P) for records in log.read()]
    assert [intake.refusals for intake in intakes] == [()] * P
    assert sorted(u for intake in intakes for u in intake.rows.column("user_id").to_pylist()) == sorted(USERS)


def test_repeated_file_and_produced_events_deduplicate(stack: Settings, tmp_path: Path) -> None:
    run = uuid.uuid4().hex
    path = tmp_path / "events.csv"
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [(user, run, moment + timedelta(seconds=n), f"id-{n}" if n % 2 else "") for n, user in enumerate(USERS)]
    body = [f"{user},{event},{at.isoformat()},{event_id}" for user, event, at, event_id in rows]
    path.write_text("\n".join(["user_id,event,occurred_at,event_id", *body, f"nobody,,{moment.isoformat()},"]))
    spec = ImportSpec(
        kind="events", mode="append", columns=columns_of("events", [EVENT_ID_COLUMN]), max_reject_share=0.5
    )
    with open_digested(path, spec, partitions=P) as digested:
        evidence = verify_digested(digested, spec, rejects=NoRejects())
    log = Log(stack.kafka_bootstrap, EVENTS)
    for number in (1, 2):
        attempt = ActivityAttempt(
            kind="events",
            tenant=DEFAULT_TENANT,
            source=f"s3://inbox/{run}.csv?versionId=1",
            import_id=JobId("01jd0000000000000000000000"),
            attempt=Attempt(number),
            partitions=P,
            columns=spec.row_schema,
        )
        topic = KafkaTopicLog(stack.kafka_bootstrap, EVENTS)
        with open_parsed(path, spec) as parsed:
            report = publish_import(
                parsed,
                attempt,
                evidence=evidence,
                log=topic,
                backlog=NobodyReads(),
                fence=ScriptedFence(),
                on_progress=lambda _: None,
            )
        assert (report.rows, [s.digest for s in report.partitions]) == (len(USERS), list(evidence.partitions))
    with_ids = [
        json.dumps({"user_id": user, "event": event, "occurred_at": at.isoformat(), "event_id": event_id})
        for user, event, at, event_id in rows
        if event_id
    ]
    sent_by_script(log, with_ids)
    intakes = log.intakes()
    assert [(intake.moves, intake.refusals) for intake in intakes] == [((), ())] * P
    assert len(users(intakes)) == 2 * len(USERS) + len(with_ids)
    known = {
        (row["user_id"], row["event"], row["occurred_at"], row["identity"])
        for intake in intakes
        for row in intake.rows.to_pylist()
    }
    assert sorted((user, event, at) for user, event, at, _ in known) == sorted(row[:3] for row in rows)


class NobodyReads:
    """`Backlog` of a topic without readers; so few chunks need not wait."""

    def committed(self) -> tuple[int, ...]:
        return (0,) * P
