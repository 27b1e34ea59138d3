"""Exports to a topic on the real broker, read by the receivers' scripts, run as receivers run them."""

import json
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from connectors.kafka.logon import librdkafka_config
from connectors.publishing import producer
from connectors.publishing.ports import TopicLog
from connectors.sinks.kafka_topic import abort, end, open_topic, partitions_of, send_group, start
from connectors.sinks.topic_addresses import topic_of
from connectors.sinks.topic_export import GroupSent, totals
from connectors.sinks.topic_messages import headers_of
from orchestration.platform.settings import Settings
from schemas.arrow import arrow_schema
from schemas.codec import CODEC
from schemas.errors import RetriableError, UserError
from schemas.ids import Attempt, AudienceName, JobId, TenantName
from schemas.messages import JobEvent, JobState
from schemas.row_digest import digest_rows
from schemas.topics import JOB_EVENTS
from tests.fakes.import_log import InMemoryTopicLog
from tests.fakes.receivers import ROOT, SCHEMAS
from tests.fakes.topic_exports import EXPORT, Row, delta, export_all, topic_export, whole
from tests.integration.lake.test_exporting import KINDS, naughty_rows
from tests.waiting import until

pytestmark = pytest.mark.integration

P = 4
MANY: list[Row] = [(f"user-{n:06d}", n % 90, None if n % 3 else '日本, "x"\n') for n in range(30_000)]
FEW: list[Row] = [(f"vip-{n:06d}", None, "") for n in range(2_000)]


@dataclass
class Topic:
    """A topic of receivers."""

    bootstrap: str
    name: str

    def __post_init__(self) -> None:
        self.admin = AdminClient({**librdkafka_config(self.bootstrap)})

    def create(self, partitions: int = P, **config: str) -> "Topic":
        options = {name.replace("_", "."): value for name, value in config.items()}
        self.admin.create_topics([NewTopic(self.name, partitions, 1, config=options)])[self.name].result(30)
        return self

    def log(self) -> TopicLog:
        return open_topic(self.bootstrap, self.name)

    def produce(self, partition: int, values: list[bytes]) -> None:
        producer = Producer({**librdkafka_config(self.bootstrap)})
        for value in values:
            producer.produce(self.name, value, partition=partition)
        assert producer.flush(30) == 0

    def messages(self) -> int:
        """Number of messages in it."""
        consumer = Consumer({**librdkafka_config(self.bootstrap), "group.id": "unused"})
        try:
            places = [TopicPartition(self.name, number) for number in range(P)]
            return sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
        finally:
            consumer.close()

    def received(self) -> tuple[list[list[Any]], str, int]:
        """(rows with their change, complaints, exit code) of the receivers' script."""
        command = [sys.executable, str(ROOT / "docs" / "consume_export.py"), self.bootstrap, self.name, str(SCHEMAS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        return rows, done.stderr.strip(), done.returncode


@pytest.fixture
def unmade(stack: Settings) -> Topic:
    return Topic(stack.kafka_bootstrap, f"crm.{uuid.uuid4().hex}")


@pytest.fixture
def topic(unmade: Topic) -> Topic:
    return unmade.create()


def as_received(rows: list[Row], change: str | None = None) -> list[list[Any]]:
    return [[change, *row] for row in rows]


def test_version_with_unusual_values_reaches_its_receiver_unchanged(topic: Topic) -> None:
    members = pa.Table.from_pylist(naughty_rows(), schema=arrow_schema(KINDS))
    with duckdb.connect() as connection:
        connection.register("members", members)
        reader = connection.sql("SELECT * FROM members ORDER BY user_id").to_arrow_reader(10)
        export = topic_export(partitions_of(topic.log()), columns=KINDS)
        sent = export_all(export, topic.log(), [[(None, reader)]])
        assert totals(export, sent) == {None: digest_rows(members, KINDS)}
    rows, complaints, code = topic.received()
    assert (complaints, code) == ("", 0)
    expected: dict[str, list[Any]] = {
        row["user_id"]: [None, *(str(v) if isinstance(v, date) else v for v in row.values())] for row in naughty_rows()
    }
    assert len(rows) == len(expected)
    assert {row[1]: row for row in rows} == expected


def sending_forever(bootstrap: str, topic: str) -> None:
    """Send group 0 of `MANY` and fall asleep after the last batch: for a process that is killed."""

    def asleep(rows: int) -> None:
        if rows == len(MANY):
            time.sleep(600)

    send_group(topic_export(P), open_topic(bootstrap, topic), group=0, rows=whole(MANY), on_rows=asleep)


@pytest.mark.faults("whole/test_exports.py kills one in a job", seconds=20)
def test_group_of_a_killed_sender_is_resent_and_received_once(topic: Topic) -> None:
    export = topic_export(P)
    start(export, topic.log())
    call = f"from {__name__} import sending_forever; sending_forever({topic.bootstrap!r}, {topic.name!r})"
    with subprocess.Popen([sys.executable, "-c", call], cwd=ROOT) as sender:
        try:
            # The start markers, and every full chunk.
            until(lambda: topic.messages() == P + P or sender.poll() is not None)
            assert sender.poll() is None
        finally:
            sender.kill()
    sent = send_group(export, topic.log(), group=0, rows=whole(MANY))
    assert topic.messages() == P + P + sum(part.chunks for part in sent.partitions)  # the full chunks came twice
    end(export, topic.log(), [sent])
    rows, complaints, code = topic.received()
    assert (sorted(rows), complaints, code) == (as_received(MANY), "", 0)


def test_concurrent_and_repeated_groups_are_received_once(topic: Topic) -> None:
    export = topic_export(P)
    groups = [MANY[:20_000], MANY[20_000:], FEW]
    start(export, topic.log())
    with ThreadPoolExecutor() as pool:
        numbers = [0, 1, 2, 0, 1]
        sent = list(pool.map(lambda g: send_group(export, topic.log(), group=g, rows=whole(groups[g])), numbers))
    assert sent[3:] == sent[:2]
    start(export, topic.log())
    assert topic.received() == ([], f"export {EXPORT}: not ended yet", 1)
    for _ in range(2):
        end(export, topic.log(), sent[:3])
    rows, complaints, code = topic.received()
    assert (sorted(rows), complaints, code) == (as_received(MANY + FEW), "", 0)


def test_delta_in_json_reaches_its_receiver_though_a_group_comes_twice(topic: Topic) -> None:
    export = topic_export(P, base=2, json=True)
    changed: list[Row] = [("user-000007", 70, "naïve\n")]
    groups: list[tuple[list[Row], list[Row]]] = [(changed + FEW, MANY[:8]), ([], MANY[8:20_000])]

    def log(*, markers: bool) -> TopicLog:
        return open_topic(topic.bootstrap, topic.name, headers=headers_of(export, markers=markers))

    start(export, log(markers=True))
    sent: list[GroupSent] = []
    for _ in range(2):
        sent = [send_group(export, log(markers=False), group=n, rows=delta(*rows)) for n, rows in enumerate(groups)]
    end(export, log(markers=True), sent)
    command = [sys.executable, str(ROOT / "docs" / "consume_json_export.py"), topic.bootstrap, topic.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    started, *rows_received = (json.loads(line) for line in done.stdout.splitlines())
    assert (started["version"], started["base_version"]) == (3, 2)
    expected: dict[str, Any] = {user: None for user, _, _ in MANY[:20_000]}
    expected |= {user: {"user_id": user, "age": age, "note": note} for user, age, note in changed + FEW}
    assert dict(rows_received) == expected


def test_receiver_reports_a_lost_chunk(topic: Topic) -> None:
    elsewhere = InMemoryTopicLog(P)
    export_all(topic_export(P), elsewhere, [whole(MANY)])
    for partition, messages in enumerate(elsewhere.messages):
        topic.produce(partition, messages if partition else messages[:2] + messages[3:])
    rows, complaints, code = topic.received()
    assert (rows, code) == ([], 1)
    assert complaints == f"export {EXPORT} partition 0: chunks (group, seq) [(0, 1)] are missing or too many"


def test_delta_moves_the_receiver_to_the_next_version(topic: Topic) -> None:
    changed: list[Row] = [("user-000007", 70, None)]
    groups = [delta([], MANY[20_000:]), delta(changed + FEW, MANY[7:8])]
    export_all(topic_export(P, base=2), topic.log(), groups)
    rows, complaints, code = topic.received()
    assert (complaints, code) == ("", 0)
    members = {row[0]: row for row in MANY}
    for change, *row in rows:
        if change == "removed":
            assert members.pop(row[0]) == tuple(row)
        else:
            assert row[0] not in members
            members[row[0]] = tuple(row)
    kept = [row for row in MANY[:20_000] if row[0] != "user-000007"]
    assert sorted(members.values()) == sorted(kept + changed + FEW)


def test_aborted_export_is_ignored_and_can_be_repeated(topic: Topic) -> None:
    first = topic_export(P)
    start(first, topic.log())
    send_group(first, topic.log(), group=0, rows=whole(MANY))
    abort(first, topic.log(), reason="CANCELLED")
    assert topic.received() == ([], "", 0)
    export_all(topic_export(P, attempt=2), topic.log(), [whole(FEW)])
    rows, complaints, code = topic.received()
    assert (sorted(rows), complaints, code) == (as_received(FEW), "", 0)


def test_several_exports_on_one_topic_do_not_mix(topic: Topic) -> None:
    one, other = topic_export(P), topic_export(P, export_id=JobId("01jd000000000000000000000z"))
    for export in (one, other):
        start(export, topic.log())
    for export, rows in ((one, MANY), (other, FEW)):
        sent = send_group(export, topic.log(), group=0, rows=whole(rows))
        end(export, topic.log(), [sent])
    rows_received, complaints, code = topic.received()
    assert (sorted(rows_received), complaints, code) == (as_received(MANY + FEW), "", 0)


def refusal(act: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        act()
    return caught.value


def test_missing_topic_is_refused_and_not_created(unmade: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "METADATA_PAUSE_S", 0.1)
    for act in (lambda: partitions_of(unmade.log()), lambda: start(topic_export(P), unmade.log())):
        assert refusal(act).code == "DESTINATION_NOT_WRITABLE"
    abort(topic_export(P), unmade.log(), reason="CANCELLED")
    assert unmade.name not in unmade.admin.list_topics(timeout=10).topics


def test_topic_with_added_partitions_is_refused(topic: Topic) -> None:
    export = topic_export(P)
    start(export, topic.log())
    sent = send_group(export, topic.log(), group=0, rows=whole(FEW))
    topic.admin.create_partitions([NewPartitions(topic.name, P + 1)])[topic.name].result(30)
    until(lambda: partitions_of(topic.log()) == P + 1)
    assert refusal(lambda: end(export, topic.log(), [sent])).code == "TOPIC_PARTITIONS_CHANGED"
    abort(export, topic.log(), reason="TOPIC_PARTITIONS_CHANGED")
    assert topic.received() == ([], "", 0)


def test_compacted_topic_is_refused(unmade: Topic) -> None:
    unmade.create(cleanup_policy="compact")
    error = refusal(lambda: start(topic_export(P), unmade.log()))
    assert (error.code, error.detail["refusal"]) == ("DESTINATION_NOT_WRITABLE", "INVALID_RECORD")


def test_a_topic_for_small_messages_is_refused(unmade: Topic) -> None:
    unmade.create(max_message_bytes="2000")
    start(topic_export(P), unmade.log())
    error = refusal(lambda: send_group(topic_export(P), unmade.log(), group=0, rows=whole(MANY)))
    assert (error.code, error.detail["refusal"]) == ("DESTINATION_NOT_WRITABLE", "MSG_SIZE_TOO_LARGE")


def test_unreachable_broker_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "METADATA_TIMEOUT_S", 0.5)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        log = open_topic(f"127.0.0.1:{closed.getsockname()[1]}", topic_of("kafka://vip"), delivery_timeout_s=1.5)
        with pytest.raises(RetriableError, match="KAFKA_UNAVAILABLE"):
            start(topic_export(P), log)


def job_event(job: str, sequence: int, state: JobState, version: int | None = None) -> bytes:
    return CODEC.encode(
        JobEvent(
            job_id=JobId(job),
            tenant=TenantName("acme"),
            audience=AudienceName("vip"),
            sequence=sequence,
            state=state,
            attempt=Attempt(1),
            version=version,
            code=None,
            occurred_at_us=1_780_000_000_000_000 + sequence,
        )
    )


def test_repeated_and_late_job_events_count_once(stack: Settings, tmp_path: Path) -> None:
    job, group = uuid.uuid4().hex[:26], uuid.uuid4().hex
    topic = Topic(stack.kafka_bootstrap, JOB_EVENTS)

    def follow() -> list[tuple[int, str]]:
        import_path = f"import sys; sys.path.insert(0, {str(ROOT / 'docs')!r}); import follow_jobs, json; "
        call = f"follow_jobs.main({topic.bootstrap!r}, {str(SCHEMAS)!r}, {str(tmp_path / 'jobs.db')!r}, {group!r})"
        command = [sys.executable, "-c", f"{import_path}print(json.dumps({call}))"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return [(e["sequence"], e["state"]) for e in json.loads(done.stdout) if e["job_id"] == job]

    first, second, third = (
        job_event(job, 1, "REGISTERED"),
        job_event(job, 2, "VERIFYING"),
        job_event(job, 3, "IMPORTING"),
    )
    topic.produce(0, [first, third, first, b"noise", second, third])
    assert follow() == [(1, "REGISTERED"), (3, "IMPORTING"), (2, "VERIFYING")]
    topic.produce(0, [third, job_event(job, 4, "READY", 7)])
    assert follow() == [(4, "READY")]
    assert follow() == []
