"""Rate at which a worker turns a full topic into sorted parts in the lake, compared with the broker's maximum."""

import time
from typing import Final

from confluent_kafka import Consumer

from benchmarks import kafka_tools
from benchmarks.measure import KIB, Measured, Result, best_of, peak_kib
from benchmarks.parts import long_sessions, part, stopped
from benchmarks.publish_bench import IMPORT_ID, evidence_of, new_topic, publish_columnar
from benchmarks.setting import Setting, warm_parser
from connectors.kafka.logon import librdkafka_config
from orchestration.local import stack
from orchestration.platform.settings import Settings
from schemas.codec import CODEC
from schemas.messages import PartitionMaterialised
from schemas.topics import CHUNK_MAX_ROWS, IMPORT_PROGRESS, IMPORTS

PARTS: Final = ("s3", "kafka", "catalog", "worker")
"""Without the control plane: the catalog does not know the job of these chunks."""
WORKER: Final = "orchestration.entrypoints.worker"
LIMIT: Final = "the broker's limit (consumer-perf-test)"
TIMEOUT_S: Final = 1800


def run(setting: Setting) -> list[Result]:
    """Both read a topic that is full when the clock starts."""
    bootstrap, partitions = setting.settings.kafka_bootstrap, setting.settings.partitions
    evidence = evidence_of(setting.csv, partitions)
    topic = new_topic(bootstrap, partitions)
    best_of(1, publish_columnar, setting.csv, bootstrap, topic, evidence, prepare=warm_parser)
    records = max(setting.rows // CHUNK_MAX_ROWS, 1)
    limit = min(
        (kafka_tools.consume(bootstrap, topic, records) for _ in range(setting.repeat)), key=lambda run: run.wall_s
    )
    ours = _taken(setting, evidence)
    return [
        Result(benchmark="worker", label=LIMIT, best=limit, note="nothing is done with them"),
        Result(
            benchmark="worker",
            label="muster's worker",
            best=ours,
            baseline=LIMIT,
            note="staged, sorted, parts in the lake",
        ),
    ]


def _taken(setting: Setting, evidence: dict[str, object]) -> Measured:
    """Measure on its own stack, from resuming the worker until it has announced the last partition."""
    home = setting.scratch / "worker-home"
    settings = stack.up(home, free_ports=True, parts=PARTS, env=long_sessions())
    try:
        process = part(settings, WORKER)
        with stopped(process):
            best_of(1, publish_columnar, setting.csv, settings.kafka_bootstrap, IMPORTS, evidence, prepare=warm_parser)
            used = sum(process.cpu_times()[:2])
        began = time.perf_counter()
        _await_all(settings)
        return Measured(
            rows=setting.rows,
            wall_s=time.perf_counter() - began,
            cpu_s=sum(process.cpu_times()[:2]) - used,
            peak_bytes=peak_kib(process.pid) * KIB,
        )
    finally:
        stack.down(home)


def _await_all(settings: Settings) -> None:
    """Wait until every partition is materialised. Raises `RuntimeError` if one is not."""
    consumer = Consumer(
        {**librdkafka_config(settings.kafka_bootstrap), "group.id": "bench", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([IMPORT_PROGRESS])
    waiting = set(range(settings.partitions))
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while waiting:
            if time.monotonic() > deadline:
                raise RuntimeError(f"partitions {sorted(waiting)} were not materialised in {TIMEOUT_S} s")
            if (record := consumer.poll(0.1)) is None or record.error() is not None:
                continue
            message = CODEC.decode(record.value())
            if not isinstance(message, PartitionMaterialised) or message.import_id != IMPORT_ID:
                raise RuntimeError(f"the worker said {message}")
            waiting.discard(message.partition)
    finally:
        consumer.close()
