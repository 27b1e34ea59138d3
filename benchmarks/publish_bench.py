"""Publishing a CSV: chunks between markers, against one message per row, against kcat where it is installed."""

import csv
import io
import shutil
import subprocess
import uuid
from itertools import islice
from pathlib import Path

import fastavro
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.measure import Result, best_of
from benchmarks.setting import SPEC, Setting, warm_parser
from benchmarks.verify_bench import NoRejects
from connectors.publishing.backlog import BacklogLimit
from connectors.publishing.importer import publish_import
from connectors.publishing.producer import KafkaTopicLog
from connectors.publishing.reports import ImportAttempt
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import open_parsed
from connectors.verification.evidence import Evidence
from connectors.verification.verifier import verify_file
from schemas.ids import Attempt, AudienceName, JobId, TenantName

GOAL_PER_ROW = 15.0
GOAL_KCAT = 2.0
PER_ROW_SLICE = 400_000
"""The per-row way is linear: a slice of the file gives its rate in seconds, not minutes."""

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
    """Nobody consumes in this benchmark: the backlog is not bounded."""

    def taken(self) -> tuple[int, ...]:
        raise AssertionError


class NoFence:
    """Nobody stops this attempt."""

    def check(self) -> None:
        pass


def publish_columnar(path: Path, bootstrap: str, topic: str, evidence: dict[str, object]) -> int:
    """The product's own way, with the check against the evidence of verification."""
    verified = Evidence.from_record(evidence)
    attempt = ImportAttempt(
        tenant=TenantName("bench"),
        audience=AudienceName("bench"),
        import_id=JobId("0" * 26),
        attempt=Attempt(1),
        partitions=len(verified.partitions),
        mode="replace",
        source="s3://inbox/bench.csv",
        columns=SPEC.row_schema,
        data_prefix="s3://lake/bench/",
    )
    with open_parsed(path, SPEC, ParseLimits()) as parsed:
        report = publish_import(
            parsed,
            attempt,
            evidence=verified,
            log=KafkaTopicLog(bootstrap, topic),
            backlog=NoWorkers(),
            fence=NoFence(),
            on_progress=lambda _: None,
            limit=BacklogLimit(chunks=10**9, bytes=10**15),
        )
    return report.rows


def publish_per_row(path: Path, bootstrap: str, topic: str, rows: int) -> int:
    """The usual way: csv.DictReader, one Avro message a row, keyed by user, every delivery report checked."""
    delivered = failed = 0

    def on_delivery(error: KafkaError | None, _message: Message) -> None:
        nonlocal delivered, failed
        delivered, failed = (delivered + 1, failed) if error is None else (delivered, failed + 1)

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
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
    """kcat with the key up to the first comma; it checks neither the CSV nor what arrived."""
    options = ["enable.idempotence=true", "partitioner=murmur2_random", "compression.codec=zstd", "compression.level=1"]
    flags = [flag for option in options for flag in ("-X", option)]
    subprocess.run(["kcat", "-P", "-b", bootstrap, "-t", topic, "-K", ",", *flags, "-l", str(path)], check=True)
    return rows


def run(setting: Setting) -> list[Result]:
    """All ways to the same broker, one after the other, each into a topic of its own."""
    bootstrap, partitions = setting.settings.kafka_bootstrap, setting.settings.partitions
    evidence = verify_file(
        setting.csv,
        SPEC,
        partitions=partitions,
        limits=ParseLimits(),
        rejects=NoRejects(),
        on_progress=lambda _: None,
    ).as_record()
    slice_rows = min(setting.rows, PER_ROW_SLICE)
    per_row = best_of(
        setting.repeat, publish_per_row, setting.csv, bootstrap, new_topic(bootstrap, partitions), slice_rows
    )
    ours = best_of(
        setting.repeat,
        publish_columnar,
        setting.csv,
        bootstrap,
        new_topic(bootstrap, partitions),
        evidence,
        prepare=warm_parser,
    )
    results = [
        Result(benchmark="publish", label="one message a row", best=per_row, note=f"first {slice_rows:,} rows"),
        Result(
            benchmark="publish",
            label="muster publish",
            best=ours,
            baseline="one message a row",
            goal=GOAL_PER_ROW,
            note="parsed, chunked, compared",
        ),
    ]
    if shutil.which("kcat"):
        topic = new_topic(bootstrap, partitions)
        kcat = best_of(setting.repeat, publish_with_kcat, setting.csv, bootstrap, topic, setting.rows)
        results.insert(1, Result(benchmark="publish", label="kcat", best=kcat, note="checks nothing"))
        results.append(Result(benchmark="publish", label="muster publish", best=ours, baseline="kcat", goal=GOAL_KCAT))
    return results


def new_topic(bootstrap: str, partitions: int) -> str:
    """A topic of its own for a way of publishing."""
    name = f"bench.{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
    return name
