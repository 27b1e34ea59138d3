"""Publishes a CSV as chunks between markers, and as one message per row, with kcat (if installed), with Kafka Connect.

Also compares this with the broker's maximum, as measured by Kafka's own tool.
"""

import csv
import io
import shutil
import subprocess
import tempfile
import uuid
from itertools import islice
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks import kafka_tools
from benchmarks.generate import users
from benchmarks.kafka_connect.running import publish_with_connect
from benchmarks.measure import Result, best_of
from benchmarks.setting import SPEC, Setting, warm_parser
from benchmarks.verify_bench import NoRejects
from connectors.kafka.logon import librdkafka_config
from connectors.publishing.attempts import AudienceAttempt
from connectors.publishing.backlog import BacklogLimit
from connectors.publishing.chunking import Chunker
from connectors.publishing.importer import publish_import
from connectors.publishing.producer import KafkaTopicLog
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import open_parsed
from connectors.verification.evidence import Evidence
from connectors.verification.verifier import verify_file
from schemas.arrow import arrow_schema
from schemas.codec import CODEC
from schemas.ids import Attempt, AudienceName, JobId, TenantName
from schemas.records import as_record, from_record
from schemas.topics import CHUNK_MAX_ROWS

GOAL_PER_ROW = 15.0
GOAL_KCAT = 2.0
GOAL_CONNECT = 5.0
IMPORT_ID = JobId("0" * 26)
PER_ROW, OURS = "one message a row", "muster publish"
PER_ROW_SLICE = 400_000
"""Publishing per row is linear: a slice of the file gives its rate in seconds, not minutes."""

USER = fastavro.parse_schema(
    {
        "type": "record",
        "name": "User",
        "fields": [
            {"name": "user_id", "type": "string"},
            {"name": "age", "type": ["null", "long"]},
            {"name": "country", "type": ["null", "string"]},
        ],
    }
)


class NoWorkers:
    """A backlog without limit: this benchmark has no consumers."""

    def committed(self) -> tuple[int, ...]:
        raise AssertionError


class NoFence:
    """A fence that never stops the attempt."""

    def check(self) -> None:
        pass


def publish_columnar(path: Path, bootstrap: str, topic: str, evidence: dict[str, object]) -> int:
    """The product's own way, including the check against the evidence of verification."""
    verified = from_record(Evidence, evidence)
    with open_parsed(path, SPEC, ParseLimits()) as parsed:
        report = publish_import(
            parsed,
            attempt_of(len(verified.partitions)),
            evidence=verified,
            log=KafkaTopicLog(bootstrap, topic),
            backlog=NoWorkers(),
            fence=NoFence(),
            on_progress=lambda _: None,
            limit=BacklogLimit(chunks=10**9, bytes=10**15),
        )
    return report.rows


def attempt_of(partitions: int) -> AudienceAttempt:
    """An attempt whose messages only this benchmark reads."""
    return AudienceAttempt(
        tenant=TenantName("bench"),
        audience=AudienceName("bench"),
        import_id=IMPORT_ID,
        attempt=Attempt(1),
        partitions=partitions,
        mode="replace",
        source="s3://inbox/bench.csv",
        columns=SPEC.row_schema,
        data_prefix="s3://lake/bench/",
    )


def publish_per_row(path: Path, bootstrap: str, topic: str, rows: int) -> int:
    """The usual way: csv.DictReader, one Avro message per row, keyed by user, every delivery report checked."""
    delivered = failed = 0

    def on_delivery(error: KafkaError | None, _message: Message) -> None:
        nonlocal delivered, failed
        delivered, failed = (delivered + 1, failed) if error is None else (delivered, failed + 1)

    producer = Producer(
        {
            **librdkafka_config(bootstrap),
            "enable.idempotence": True,
            "compression.type": "zstd",
            "compression.level": 1,
            "linger.ms": 50,
            "partitioner": "murmur2_random",
            "log_level": 2,
        }
    )
    with path.open(newline="", encoding="utf-8") as file:
        for row in islice(csv.DictReader(file), rows):
            out = io.BytesIO()
            user = {"user_id": row["user_id"], "age": int(row["age"]), "country": row["country"] or None}
            fastavro.schemaless_writer(out, USER, user)
            while True:
                try:
                    producer.produce(topic, out.getvalue(), key=row["user_id"], on_delivery=on_delivery)
                    break
                except BufferError:
                    producer.poll(0.05)
            producer.poll(0)
    producer.flush(120)
    if failed:
        raise RuntimeError(f"{failed} messages were not delivered")
    return delivered


def publish_with_kcat(path: Path, bootstrap: str, topic: str, rows: int) -> int:
    """kcat with the text before the first comma as key; it checks neither the CSV nor what arrived."""
    options = ["enable.idempotence=true", "partitioner=murmur2_random", "compression.codec=zstd", "compression.level=1"]
    flags = [flag for option in options for flag in ("-X", option)]
    logon = librdkafka_config(bootstrap)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:  # private
        file.writelines(f"{name}={value}\n" for name, value in logon.items() if isinstance(value, str))
        file.flush()
        command = ["kcat", "-F", file.name, "-P", "-t", topic, "-K", ",", *flags, "-l", str(path)]
        subprocess.run(command, check=True)
    return rows


def run(setting: Setting) -> list[Result]:
    """Run all ways against the same broker, one after another, each into its own topic."""
    bootstrap, partitions = setting.settings.kafka_bootstrap, setting.settings.partitions
    slice_rows = min(setting.rows, PER_ROW_SLICE)
    per_row = best_of(
        setting.repeat, publish_per_row, setting.csv, bootstrap, new_topic(bootstrap, partitions), slice_rows
    )
    topic = new_topic(bootstrap, partitions)
    evidence = evidence_of(setting.csv, partitions)
    ours = best_of(setting.repeat, publish_columnar, setting.csv, bootstrap, topic, evidence, prepare=warm_parser)
    stored = on_disk(setting, topic) // setting.repeat
    note = f"parsed, chunked, compared; {stored / 1e6:.0f} MB in the broker"
    results = [
        Result(benchmark="publish", label=PER_ROW, best=per_row, note=f"first {slice_rows:,} rows"),
        Result(
            benchmark="publish",
            label=OURS,
            best=ours,
            baseline=PER_ROW,
            goal=GOAL_PER_ROW,
            note=note,
            stored_bytes=stored,
        ),
    ]
    for other, goal in ((_kcat(setting), GOAL_KCAT), (_connect(setting), GOAL_CONNECT), (_limit(setting), None)):
        if other is not None:
            results += [
                other,
                Result(benchmark="publish", label=OURS, best=ours, baseline=other.label, goal=goal),
            ]
    return results


def evidence_of(path: Path, partitions: int) -> dict[str, object]:
    """The evidence of verification for the file."""
    verified = verify_file(
        path, SPEC, partitions=partitions, limits=ParseLimits(), rejects=NoRejects(), on_progress=lambda _: None
    )
    return as_record(verified)


def chunk_bytes() -> int:
    """Size in bytes of the message for a full chunk of the file's rows, which all have the same length."""
    batch = next(users(np.random.default_rng(0), CHUNK_MAX_ROWS))
    columns = [pa.array(np.arange(CHUNK_MAX_ROWS)), *batch.columns]
    rows = pa.record_batch(columns, schema=arrow_schema(SPEC.row_schema, ordinal=True))
    [chunk] = Chunker(attempt_of(1)).add(rows)
    return len(CODEC.encode(chunk))


def _kcat(setting: Setting) -> Result | None:
    if not shutil.which("kcat"):
        return None
    bootstrap = setting.settings.kafka_bootstrap
    topic = new_topic(bootstrap, setting.settings.partitions)
    best = best_of(setting.repeat, publish_with_kcat, setting.csv, bootstrap, topic, setting.rows)
    return Result(benchmark="publish", label="kcat", best=best, note="checks nothing")


def _connect(setting: Setting) -> Result:
    bootstrap, partitions = setting.settings.kafka_bootstrap, setting.settings.partitions
    runs = [
        publish_with_connect(
            setting.csv, bootstrap, new_topic(bootstrap, partitions), setting.rows + 1, setting.scratch / "connect"
        )
        for _ in range(setting.repeat)
    ]
    best = min(runs, key=lambda run: run.wall_s)
    return Result(benchmark="publish", label="Kafka Connect, file source", best=best, note="a line a record, no key")


def _limit(setting: Setting) -> Result:
    """The broker's maximum for as many chunks as ours, as text.

    Its `rows` are those of as many chunks, so the ratio compares bytes.
    """
    bootstrap, payloads = setting.settings.kafka_bootstrap, setting.scratch / "payloads"
    size, records = chunk_bytes(), max(setting.rows // CHUNK_MAX_ROWS, 1)
    kafka_tools.write_payloads(setting.csv, size, payloads)
    topic = new_topic(bootstrap, setting.settings.partitions)
    best = min(
        (kafka_tools.produce(bootstrap, topic, payloads, records) for _ in range(setting.repeat)),
        key=lambda run: run.wall_s,
    )
    passes = setting.repeat * (kafka_tools.WARM_UP + kafka_tools.PASSES)
    speed = best.rows / CHUNK_MAX_ROWS * size / best.wall_s / 1e6
    stored = on_disk(setting, topic) / passes / 1e6
    note = f"{speed:.0f} MB/s in records of {size / 1e3:.0f} KB; {stored:.0f} MB in the broker"
    return Result(benchmark="publish", label="the broker's limit (producer-perf-test)", best=best, note=note)


def on_disk(setting: Setting, topic: str) -> int:
    """Bytes of a topic's records in the broker's files, compressed as sent."""
    return sum(file.stat().st_size for file in setting.settings.home.glob(f"kafka/data/{topic}-*/*.log"))


def new_topic(bootstrap: str, partitions: int) -> str:
    """Create a new topic for one way of publishing."""
    name = f"bench.{uuid.uuid4().hex}"
    admin = AdminClient({**librdkafka_config(bootstrap), "log_level": 2})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
    return name
