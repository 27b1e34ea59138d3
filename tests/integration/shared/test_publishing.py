"""Publishing on the real broker."""

import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connectors.kafka.logon import librdkafka_config
from connectors.publishing import producer
from connectors.publishing.attempts import AudienceAttempt
from connectors.publishing.backlog import BacklogLimit, KafkaBacklog
from connectors.publishing.importer import publish_aborted, publish_import
from connectors.publishing.ports import Fence, Superseded
from connectors.publishing.producer import KafkaTopicLog
from connectors.publishing.progress import OnProgress
from connectors.publishing.reports import PublishProgress, PublishReport
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import open_parsed
from connectors.sources.rejects import RejectBatch
from connectors.verification.evidence import Evidence
from connectors.verification.verifier import verify_file
from orchestration.local import processes
from orchestration.platform.settings import Settings
from schemas.codec import CODEC
from schemas.columns import Column
from schemas.errors import FatalError, RetriableError
from schemas.ids import Attempt, AudienceName, JobId, Partition, TenantName
from schemas.import_spec import ImportSpec
from schemas.messages import ImportAborted, ImportEnded, ImportStarted, UserChunk
from schemas.messages import Message as ImportMessage
from schemas.partitioning import partition_of
from schemas.rows import chunk_fault, decode_rows
from schemas.topics import IMPORTS
from tests.conftest import StartStack
from tests.fakes.import_log import ScriptedFence

pytestmark = pytest.mark.integration

PARTITIONS = 4
IMPORT = JobId("01jd0000000000000000000000")
SPEC = ImportSpec(columns=(Column(name="age", type="long"), Column(name="country")), allow_empty=True)
UNBOUNDED = BacklogLimit(chunks=10**9, bytes=10**15)


class NoRejects:
    def write(self, rejects: RejectBatch) -> None:
        raise AssertionError(rejects)

    def finish(self) -> str | None:
        return None


@pytest.fixture
def topic(stack: Settings) -> str:
    name = f"publishing.{uuid.uuid4().hex}"
    create_topic(stack, name, {})
    return name


def create_topic(settings: Settings, name: str, config: dict[str, str]) -> None:
    admin = AdminClient({**librdkafka_config(settings.kafka_bootstrap)})
    admin.create_topics([NewTopic(name, PARTITIONS, 1, config=config)])[name].result(30)


def attempt_of(partitions: int = PARTITIONS) -> AudienceAttempt:
    return AudienceAttempt(
        tenant=TenantName("acme"),
        audience=AudienceName("vip"),
        import_id=IMPORT,
        attempt=Attempt(1),
        partitions=partitions,
        mode="replace",
        source="s3://inbox/acme/vip/users.csv?versionId=7",
        columns=SPEC.row_schema,
        data_prefix="s3://lake/x/",
    )


def users_csv(path: Path, rows: int) -> Path:
    lines = "".join(f"user-{n},{n % 90},{'JP' if n % 2 else ''}\n" for n in range(rows))
    path.write_text("user_id,age,country\n" + lines, encoding="utf-8")
    return path


def verified(path: Path) -> Evidence:
    return verify_file(
        path, SPEC, partitions=PARTITIONS, limits=ParseLimits(), rejects=NoRejects(), on_progress=lambda _: None
    )


def publish(
    path: Path,
    settings: Settings,
    topic: str,
    *,
    evidence: Evidence | None = None,
    fence: Fence | None = None,
    backlog: KafkaBacklog | None = None,
    limit: BacklogLimit = UNBOUNDED,
    on_progress: OnProgress = lambda _: None,
) -> PublishReport:
    with open_parsed(path, SPEC, ParseLimits()) as parsed:
        return publish_import(
            parsed,
            attempt_of(),
            evidence=evidence or verified(path),
            log=KafkaTopicLog(settings.kafka_bootstrap, topic),
            backlog=backlog or KafkaBacklog(settings.kafka_bootstrap, topic, PARTITIONS),
            fence=fence or ScriptedFence(),
            on_progress=on_progress,
            limit=limit,
        )


def consumed(settings: Settings, topic: str) -> Iterator[Message]:
    """Every message in the topic now, in order per partition."""
    consumer = Consumer(
        {**librdkafka_config(settings.kafka_bootstrap), "group.id": uuid.uuid4().hex, "enable.auto.commit": False}
    )
    try:
        places = [TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)]
        left = sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
        consumer.assign(places)
        for _ in range(left):
            message = consumer.poll(10)
            assert message is not None, f"{topic} ends before what it should hold"
            assert message.error() is None
            yield message
    finally:
        consumer.close()


def messages_by_partition(settings: Settings, topic: str) -> dict[int, list[ImportMessage]]:
    found: dict[int, list[ImportMessage]] = {partition: [] for partition in range(PARTITIONS)}
    for message in consumed(settings, topic):
        found[message.partition() or 0].append(CODEC.decode(message.value()))
    return found


def test_topic_contains_the_file_in_chunks_between_markers(stack: Settings, topic: str, tmp_path: Path) -> None:
    path = users_csv(tmp_path / "users.csv", 50_000)
    report = publish(path, stack, topic)

    rows = []
    for partition, messages in messages_by_partition(stack, topic).items():
        started, *chunks, ended = messages
        assert isinstance(started, ImportStarted)
        assert isinstance(ended, ImportEnded)
        assert (started.partition, started.columns) == (partition, SPEC.row_schema)
        sent = report.partitions[partition]
        assert (ended.chunks, ended.records, ended.digest) == (len(chunks), sent.records, sent.digest)
        assert sent.end_offset == len(messages) - 1
        for seq, chunk in enumerate(chunks):
            assert isinstance(chunk, UserChunk)
            assert (chunk.seq, chunk.partition) == (seq, partition)
            batch = decode_rows(chunk.rows)
            assert chunk_fault(chunk, batch, SPEC.row_schema) is None
            rows += batch.to_pylist()
    rows.sort(key=lambda row: row["_ordinal"])
    assert rows == [
        {"_ordinal": n, "user_id": f"user-{n}", "age": n % 90, "country": "JP" if n % 2 else None}
        for n in range(50_000)
    ]
    assert report.rows == 50_000


def test_librdkafka_murmur2_agrees_on_partitions(stack: Settings, topic: str) -> None:
    users = [f"user-{n}" for n in range(500)] + ["ユーザー", "🙂", " ", "a" * 191]
    producer = Producer({**librdkafka_config(stack.kafka_bootstrap), "partitioner": "murmur2_random"})
    for user in users:
        producer.produce(topic, key=user.encode())
    assert producer.flush(30) == 0
    placed = {(message.key() or b"").decode(): message.partition() for message in consumed(stack, topic)}
    assert placed == {user: partition_of(user, PARTITIONS) for user in users}


class SupersededOnceHeard:
    """`Fence` of an attempt that is superseded as soon as the topic has a message of it."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._topic = topic

    def check(self) -> None:
        if any(consumed(self._settings, self._topic)):
            raise Superseded


def test_superseded_attempt_leaves_no_end_marker(stack: Settings, topic: str, tmp_path: Path) -> None:
    path = users_csv(tmp_path / "users.csv", 30_000)
    with pytest.raises(Superseded):
        publish(path, stack, topic, fence=SupersededOnceHeard(stack, topic))
    kinds = {type(message) for messages in messages_by_partition(stack, topic).values() for message in messages}
    assert ImportEnded not in kinds
    assert ImportStarted in kinds


def test_unverified_rows_leave_no_end_marker(stack: Settings, topic: str, tmp_path: Path) -> None:
    evidence = verified(users_csv(tmp_path / "users.csv", 1_000))
    other = tmp_path / "other.csv"
    other.write_text((tmp_path / "users.csv").read_text().replace("user-17,", "user-71,"))
    with pytest.raises(FatalError, match="EVIDENCE_MISMATCH"):
        publish(other, stack, topic, evidence=evidence)
    kinds = {type(message) for messages in messages_by_partition(stack, topic).values() for message in messages}
    assert kinds == {ImportStarted, UserChunk}


def test_an_abort_reaches_every_partition(stack: Settings, topic: str) -> None:
    log = KafkaTopicLog(stack.kafka_bootstrap, topic)
    publish_aborted(log, import_id=IMPORT, attempt=Attempt(1), partitions=PARTITIONS, reason="cancelled")
    assert messages_by_partition(stack, topic) == {
        p: [ImportAborted(import_id=IMPORT, attempt=Attempt(1), partition=Partition(p), reason="cancelled")]
        for p in range(PARTITIONS)
    }


def test_backlog_is_bounded_and_ends_with_the_import(stack: Settings, topic: str, tmp_path: Path) -> None:
    path = users_csv(tmp_path / "users.csv", 200_000)  # 10 chunks a partition
    group = uuid.uuid4().hex
    done = threading.Event()
    behind: list[int] = []
    worker = threading.Thread(target=take_slowly, args=(stack, topic, group, done, behind))
    worker.start()
    try:
        backlog = KafkaBacklog(stack.kafka_bootstrap, topic, PARTITIONS, group=group)
        report = publish(path, stack, topic, backlog=backlog, limit=BacklogLimit(chunks=3, bytes=10**9))
    finally:
        done.set()
        worker.join(60)
    assert report.rows == 200_000
    # End markers come on top: they are sent within the backlog too.
    assert 1 <= max(behind) <= 3


def take_slowly(settings: Settings, topic: str, group: str, done: threading.Event, behind: list[int]) -> None:
    """A worker that commits after every message, and notes how many more its partition had at that time."""
    consumer = Consumer(
        {
            **librdkafka_config(settings.kafka_bootstrap),
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    while not done.is_set():
        message = consumer.poll(0.1)
        if message is None:
            continue
        place = TopicPartition(topic, message.partition() or 0)
        _, end = consumer.get_watermark_offsets(place, timeout=10)
        behind.append(end - (message.offset() or 0))
        consumer.commit(message=message, asynchronous=False)
    consumer.close()


def test_group_without_commits_has_consumed_nothing(stack: Settings, topic: str) -> None:
    assert KafkaBacklog(stack.kafka_bootstrap, topic, PARTITIONS, group=uuid.uuid4().hex).committed() == (0, 0, 0, 0)


def test_a_missing_topic_is_named(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "METADATA_PAUSE_S", 0.1)
    with pytest.raises(FatalError, match="topic no-such-topic does not exist") as error:
        publish(users_csv(tmp_path / "users.csv", 10), stack, "no-such-topic")
    assert error.value.code == "TOPIC_MISSING"


def test_topic_with_another_partition_count_is_refused(stack: Settings, topic: str, tmp_path: Path) -> None:
    path = users_csv(tmp_path / "users.csv", 10)
    with open_parsed(path, SPEC, ParseLimits()) as parsed, pytest.raises(FatalError, match="has 4 partitions") as error:
        publish_import(
            parsed,
            attempt_of(partitions=8),
            evidence=verified(path),
            log=KafkaTopicLog(stack.kafka_bootstrap, topic),
            backlog=KafkaBacklog(stack.kafka_bootstrap, topic, 8),
            fence=ScriptedFence(),
            on_progress=lambda _: None,
        )
    assert error.value.code == "TOPIC_PARTITIONS_CHANGED"


def test_message_refused_by_the_broker_fails_the_attempt_permanently(stack: Settings, tmp_path: Path) -> None:
    narrow = f"publishing.{uuid.uuid4().hex}"
    create_topic(stack, narrow, {"max.message.bytes": "2000"})
    with pytest.raises(FatalError, match="MSG_SIZE_TOO_LARGE") as error:
        publish(users_csv(tmp_path / "users.csv", 5_000), stack, narrow)
    assert error.value.code == "KAFKA_REFUSED"


def test_unreachable_broker_is_an_outage() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        bootstrap = f"127.0.0.1:{closed.getsockname()[1]}"
        log = KafkaTopicLog(bootstrap, "muster.imports", delivery_timeout_s=1.5)
        assert log.offer(Partition(0), b"x")
        with pytest.raises(RetriableError, match="MSG_TIMED_OUT") as error:
            log.flush(10)
        assert error.value.code == "KAFKA_UNAVAILABLE"
        with pytest.raises(RetriableError, match="KAFKA_UNAVAILABLE"):  # and it stays failed
            log.offer(Partition(0), b"y")


def test_full_queue_refuses_and_keeps_its_messages() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        log = KafkaTopicLog(f"127.0.0.1:{closed.getsockname()[1]}", "muster.imports")
        taken = 0
        while log.offer(Partition(0), b"x" * 700_000):
            taken += 1
        assert 90 <= taken <= 96  # 64 MiB
        assert log.unacknowledged() == taken
        log.abandon()
        assert log.unacknowledged() == 0


def test_message_too_large_for_the_client_is_refused_immediately(stack: Settings, topic: str) -> None:
    log = KafkaTopicLog(stack.kafka_bootstrap, topic)
    with pytest.raises(FatalError, match="MSG_SIZE_TOO_LARGE") as error:
        log.offer(Partition(0), b"x" * 2_000_000)
    assert error.value.code == "KAFKA_REFUSED"


@pytest.mark.faults(
    "a broker that is killed; that nothing ends before it is acknowledged is shown in memory", seconds=30
)
def test_broker_killed_midway_loses_and_duplicates_nothing(start_stack: StartStack, tmp_path: Path) -> None:
    settings = start_stack(parts=("kafka",), partitions=PARTITIONS)
    path = users_csv(tmp_path / "users.csv", 400_000)
    killed: list[int] = []

    def kill_the_broker(progress: PublishProgress) -> None:
        if progress.rows and not killed:
            (broker,) = [p for p in processes.marked(settings.home) if "kafka.Kafka" in p.cmdline()]
            broker.kill()
            killed.append(broker.pid)

    report = publish(path, settings, IMPORTS, on_progress=kill_the_broker)

    assert len(killed) == 1
    assert report.rows == 400_000
    for partition, messages in messages_by_partition(settings, IMPORTS).items():
        seqs = [message.seq for message in messages if isinstance(message, UserChunk)]
        assert seqs == list(range(report.partitions[partition].chunks))
        assert isinstance(messages[-1], ImportEnded)
