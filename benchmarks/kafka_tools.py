"""Kafka's own performance tools: the broker's maximum rates in and out, for records like our chunks."""

import re
from collections.abc import Iterator, Sequence
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Final

from benchmarks import java
from benchmarks.java_client import client_file
from benchmarks.measure import KIB, Measured
from connectors.publishing.producer import BATCH_MAX_BYTES, LINGER_MS, QUEUE_MAX_KIB
from orchestration.local.kafka.jars import LOCK_FILE
from schemas.kafka_address import hosts
from schemas.topics import CHUNK_MAX_ROWS, MESSAGE_MAX_BYTES

HEAP: Final = "-Xmx1g"
PAYLOADS: Final = 64
"""Number of different records; the tool picks one at random for each send. A batch holds three."""
BETWEEN: Final = ";"
WARM_UP: Final = 1
PASSES: Final = 3
"""Passes over the file's bytes, as chunks, that count; the warm-up before them does not."""
STEADY: Final = re.compile(r"(\d+) steady state records sent, ([\d.]+) records/sec")
MS: Final = 1000
PRODUCER: Final = {
    "acks": "all",
    "enable.idempotence": "true",
    "compression.type": "zstd",
    "compression.zstd.level": 1,
    "linger.ms": LINGER_MS,
    "batch.size": BATCH_MAX_BYTES,
    "buffer.memory": QUEUE_MAX_KIB * KIB,
    "max.request.size": MESSAGE_MAX_BYTES,
}
"""As in `connectors.publishing.producer`."""


def write_payloads(csv: Path, chunk_bytes: int, out: Path) -> None:
    """Write rows of the file as text, numbered with as many digits as it takes to reach the size of our chunks.

    They have as many bytes as ours and compress as badly: the tool can send only text.
    """
    with csv.open(encoding="utf-8") as file:
        lines = cycle(line.rstrip("\n") for line in islice(file, 1, PAYLOADS * CHUNK_MAX_ROWS + 1))
        chunks = (list(islice(lines, CHUNK_MAX_ROWS)) for _ in range(PAYLOADS))
        texts = (text_chunk(rows, number * CHUNK_MAX_ROWS, chunk_bytes) for number, rows in enumerate(chunks))
        out.write_text(BETWEEN.join(texts), encoding="utf-8")


def text_chunk(lines: Sequence[str], first: int, size: int) -> str:
    """Lines of ASCII, each preceded by its number, in exactly `size` bytes. Raises `ValueError` if they do not fit."""
    room = size - sum(len(line) + len(",\n") for line in lines)
    if (digits := room // len(lines)) < len(str(first + len(lines) - 1)):
        raise ValueError(f"{len(lines)} lines with their numbers take more than {size} bytes")
    return "".join(f"{number:0{digits}d},{line}\n" for number, line in enumerate(lines, first)).ljust(size)


def produce(bootstrap: str, topic: str, payloads: Path, records: int) -> Measured:
    """kafka-producer-perf-test: its rate for `records` records once warm. `rows` counts the rows of as many chunks.

    Processor time includes the start and the warm-up.
    """
    warm_up, counted = WARM_UP * records, PASSES * records
    with client_file(bootstrap) as client:
        ran = java.run(
            LOCK_FILE,
            HEAP,
            "org.apache.kafka.tools.ProducerPerformance",
            *(*_broker(bootstrap, client), "--topic", topic, "--throughput", "-1"),
            *("--num-records", str(warm_up + counted), "--warmup-records", str(warm_up)),
            *("--payload-file", str(payloads), "--payload-delimiter", BETWEEN),
            *_properties(PRODUCER),
        )
    return _measured(counted, counted / steady_rate(ran.said), ran)


def steady_rate(said: str) -> float:
    """Records per second from the tool's last report of its steady state. Raises `ValueError` if there is none."""
    if not (found := STEADY.findall(said)):
        raise ValueError(f"kafka-producer-perf-test did not say its rate: {said[-1000:]}")
    return float(found[-1][1])


def consume(bootstrap: str, topic: str, records: int) -> Measured:
    """kafka-consumer-perf-test over a topic with at least `records` chunks: its fetch time, without joining."""
    with client_file(bootstrap) as client:
        ran = java.run(
            LOCK_FILE,
            HEAP,
            "org.apache.kafka.tools.ConsumerPerformance",
            *(*_broker(bootstrap, client), "--topic", topic, "--num-records", str(records)),
        )
    fetched, fetch_s = fetched_in(ran.said)
    return _measured(fetched, fetch_s, ran)


def fetched_in(said: str) -> tuple[int, float]:
    """Records and seconds of fetching, from the tool's table. Raises `ValueError` if they are missing."""
    lines = said.splitlines()
    for header, values in pairwise(lines):
        if "fetch.time.ms" in header:
            row = dict(zip(header.split(", "), values.split(", "), strict=True))
            return int(row["data.consumed.in.nMsg"]), int(row["fetch.time.ms"]) / MS
    raise ValueError(f"kafka-consumer-perf-test did not say what it fetched: {said[-1000:]}")


def _broker(bootstrap: str, client: Path) -> tuple[str, ...]:
    return ("--bootstrap-server", ",".join(hosts(bootstrap)), "--command-config", str(client))


def _properties(values: dict[str, object]) -> Iterator[str]:
    yield "--command-property"
    yield from (f"{name}={value}" for name, value in values.items())


def _measured(records: int, wall_s: float, ran: java.Ran) -> Measured:
    return Measured(rows=records * CHUNK_MAX_ROWS, wall_s=wall_s, cpu_s=ran.cpu_s, peak_bytes=ran.peak_bytes)
