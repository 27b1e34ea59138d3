"""Kafka's own performance tools: what the broker takes and gives at most, of records that are like our chunks."""

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
"""Different records; the tool draws one of them each time. A batch holds three."""
BETWEEN: Final = ";"
WARM_UP: Final = 1
PASSES: Final = 3
"""As many bytes as the file has in chunks are sent so often; what is sent before, to warm up, does not count."""
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
"""As `connectors.publishing.producer` has it."""


def write_payloads(csv: Path, chunk_bytes: int, out: Path) -> None:
    """Rows of the file as text, with their number in as many digits as it takes to have the bytes of a chunk of ours.

    So the bytes are as many as ours, and as hard to compress: the tool cannot send bytes that are no text.
    """
    with csv.open(encoding="utf-8") as file:
        lines = cycle(line.rstrip("\n") for line in islice(file, 1, PAYLOADS * CHUNK_MAX_ROWS + 1))
        chunks = (list(islice(lines, CHUNK_MAX_ROWS)) for _ in range(PAYLOADS))
        texts = (text_chunk(rows, number * CHUNK_MAX_ROWS, chunk_bytes) for number, rows in enumerate(chunks))
        out.write_text(BETWEEN.join(texts), encoding="utf-8")


def text_chunk(lines: Sequence[str], first: int, size: int) -> str:
    """Lines of ASCII, each behind its number, in exactly `size` bytes. Raises `ValueError` where there is no room."""
    room = size - sum(len(line) + len(",\n") for line in lines)
    if (digits := room // len(lines)) < len(str(first + len(lines) - 1)):
        raise ValueError(f"{len(lines)} lines with their numbers take more than {size} bytes")
    return "".join(f"{number:0{digits}d},{line}\n" for number, line in enumerate(lines, first)).ljust(size)


def produce(bootstrap: str, topic: str, payloads: Path, records: int) -> Measured:
    """kafka-producer-perf-test: its rate for so many records once it is warm; `rows` are those of so many chunks.

    Processor time has the start and the warming up in it.
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
    """Records a second, of the tool's last words about its steady state. Raises `ValueError` without any."""
    if not (found := STEADY.findall(said)):
        raise ValueError(f"kafka-producer-perf-test did not say its rate: {said[-1000:]}")
    return float(found[-1][1])


def consume(bootstrap: str, topic: str, records: int) -> Measured:
    """kafka-consumer-perf-test over a topic with at least so many chunks: its time of fetching, without joining."""
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
    """Records and seconds of fetching, of the tool's table. Raises `ValueError` where that is not to be found."""
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
