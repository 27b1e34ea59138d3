"""`python -m orchestration.local.kafka.warm`: make the first start as fast as the others (`make setup`).

Downloads missing jars, and runs a broker for a moment to create the cache of its classes.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer

from connectors.kafka.logon import librdkafka_config
from connectors.kafka.topics import ensure_topics
from connectors.kafka.worker_group import broker_answers
from orchestration.local.kafka import broker, users
from orchestration.local.kafka.class_cache import cache_path
from orchestration.local.kafka.jars import classpath
from orchestration.local.kafka.users import ensure_rules
from orchestration.local.ports import LOOPBACK, kafka_address, pick_free_ports
from orchestration.local.processes import plain_environment
from orchestration.platform.settings import Settings
from schemas.errors import MusterError
from schemas.kafka_address import with_credentials
from schemas.topics import JOB_EVENTS

UP_TIMEOUT_S: Final = 120.0
WORK_TIMEOUT_S: Final = 30.0
END_TIMEOUT_S: Final = 180.0
"""The JVM writes the cache when it ends."""


def main() -> int:
    """Ensure the jars, which are required, and the cache, which is optional."""
    cache = cache_path(classpath())
    if not cache.exists():
        try:
            make(cache)
        except (MusterError, KafkaException, OSError, subprocess.SubprocessError) as exc:
            sys.stderr.write(f"Kafka starts without its class cache, some seconds later: {exc}\n")
    return 0


def make(cache: Path) -> None:
    """Write the cache. If that is not possible, raises the errors that `main` catches."""
    ports = pick_free_ports()
    with tempfile.TemporaryDirectory(prefix="muster-kafka-") as folder:
        home, written = Path(folder), Path(folder) / cache.name
        broker.prepare(home, ports)
        address = with_credentials(kafka_address(f"{LOOPBACK}:{ports.kafka}"), str(users.credentials_file(home)))
        settings = Settings(kafka_bootstrap=address, partitions=1)
        java, *arguments = broker.command(home)
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [java, f"-XX:AOTCacheOutput={written}", *arguments],
                env=plain_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            deadline = time.monotonic() + UP_TIMEOUT_S
            while not broker_answers(settings.kafka_bootstrap):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise subprocess.SubprocessError((home / "log").read_text(errors="replace")[-500:])
                time.sleep(0.2)
            work(settings)
            process.terminate()
            process.wait(END_TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
        temporary = cache.with_name(f"{cache.name}.{process.pid}")
        temporary.write_bytes(written.read_bytes())
        temporary.replace(cache)


def work(settings: Settings) -> None:
    """Make the broker load what it needs for topics, a transaction and a group."""
    ensure_topics(settings)
    ensure_rules(settings.kafka_bootstrap)
    address = {**librdkafka_config(settings.kafka_bootstrap), "log_level": 2}
    producer = Producer({**address, "transactional.id": "warm"})
    producer.init_transactions(WORK_TIMEOUT_S)
    producer.begin_transaction()
    producer.produce(JOB_EVENTS, b"x")
    producer.commit_transaction(WORK_TIMEOUT_S)
    consumer = Consumer({**address, "group.id": "warm", "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([JOB_EVENTS])
        if consumer.poll(WORK_TIMEOUT_S) is not None:
            consumer.commit(asynchronous=False)
    finally:
        consumer.close()


if __name__ == "__main__":
    sys.exit(main())
