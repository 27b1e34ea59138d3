"""Runs Kafka Connect with the jars of `jgo.lock.toml` (`jgo --resolver python lock` writes it)."""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from benchmarks import java
from benchmarks.java_client import client_properties
from benchmarks.measure import KIB, Measured, peak_kib
from connectors.kafka.logon import librdkafka_config
from connectors.private_files import write_private

LOCK: Final = Path(__file__).with_name("jgo.lock.toml")
MAIN: Final = ("-Xmx1g", "org.apache.kafka.connect.cli.ConnectStandalone")
CONVERTER: Final = "org.apache.kafka.connect.storage.StringConverter"
LINES_AT_ONCE: Final = 5_000
LEFT_BEHIND: Final = 100
"""The last lines may stay in the source's buffer of 1 KiB until the file grows, so they are not waited for."""
POLL_S: Final = 0.05
TIMEOUT_S: Final = 20 * 60
STOP_S: Final = 30
MS: Final = 1000


def publish_with_connect(file: Path, bootstrap: str, topic: str, lines: int, folder: Path) -> Measured:
    """Measure a file of `lines` lines, from the task's first record until the broker has the last one.

    The seconds exclude the start of the JVM and of the worker: the clock begins with the timestamp of the oldest
    record, which the producer wrote when it received that record. The processor time includes the start.
    """
    folder.mkdir(exist_ok=True)
    worker, connector, log = (folder / name for name in ("worker.properties", "file.properties", "connect.log"))
    write_private(worker, _properties(_worker(bootstrap, folder / "offsets")).encode())
    connector.write_text(_properties(_connector(file, topic)), encoding="utf-8")
    (folder / "offsets").unlink(missing_ok=True)
    watching = Consumer({**librdkafka_config(bootstrap), "group.id": "none", "log_level": 2})
    with log.open("wb") as output:
        process = subprocess.Popen(
            java.command(LOCK, *MAIN, str(worker), str(connector)), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while (sent := _records(watching, topic)) < lines - LEFT_BEHIND:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Kafka Connect did not come to the end: {log.read_text()[-2000:]}")
            time.sleep(POLL_S)
        ended = time.time()
        used = sum(psutil.Process(process.pid).cpu_times()[:2])
        peak = peak_kib(process.pid) * KIB
        return Measured(rows=sent, wall_s=ended - _oldest_s(watching, topic), cpu_s=used, peak_bytes=peak)
    finally:
        watching.close()
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _worker(bootstrap: str, offsets: Path) -> dict[str, object]:
    logon = client_properties(bootstrap)
    return {
        **logon,
        **{f"producer.{name}": value for name, value in logon.items()},
        "key.converter": CONVERTER,
        "value.converter": CONVERTER,
        "offset.storage.file.filename": offsets,
        "listeners": "http://127.0.0.1:0",
        # Same as ours where possible; Connect itself waits for all replicas, with one request in flight.
        "producer.compression.type": "zstd",
        "producer.compression.zstd.level": 1,
        "producer.linger.ms": 100,
        "producer.batch.size": 1_000_000,
        "producer.buffer.memory": 64 * 1024 * 1024,
    }


def _connector(file: Path, topic: str) -> dict[str, object]:
    return {
        "name": "file",
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
        "tasks.max": 1,
        "file": file,
        "topic": topic,
        "batch.size": LINES_AT_ONCE,
    }


def _properties(values: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _partitions(watching: Consumer, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in watching.list_topics(topic, 30).topics[topic].partitions]


def _records(watching: Consumer, topic: str) -> int:
    try:
        ends = [watching.get_watermark_offsets(one, 30) for one in _partitions(watching, topic)]
    except KafkaException as exc:
        if exc.args[0].retriable() or exc.args[0].code() == KafkaError.NOT_LEADER_FOR_PARTITION:
            return 0  # the topic has just been created
        raise
    return sum(end - begin for begin, end in ends)


def _oldest_s(watching: Consumer, topic: str) -> float:
    """The timestamp of the oldest record, in seconds. In each partition the first record is the oldest."""
    times = []
    for one in _partitions(watching, topic):
        watching.assign([TopicPartition(topic, one.partition, 0)])
        if (message := watching.poll(10)) is not None and message.error() is None:
            times.append(message.timestamp()[1] / MS)
    return min(times)
