"""Dead letters, workers and their lag, for those who run the deployment."""

from typing import Any, Final

from confluent_kafka import KafkaException

from connectors.kafka.errors import kafka_error
from connectors.kafka.worker_group import WorkerGroup, unacknowledged
from orchestration.operations import dead_letters
from orchestration.operations.availability import require_services
from orchestration.operations.workers import running_workers, waiting_jobs
from orchestration.platform.clock import iso, now_ms
from orchestration.readers.questions import ListDeadLetters, ListWorkers, ReadLag, ReplayDeadLetters
from orchestration.readers.reading import Reading
from schemas.records import as_record
from schemas.topics import ACTIVITY_TOPICS, IMPORT_TOPICS, SEGMENT_WORKER_GROUP, WORKER_GROUP

GROUPS: Final = ((WORKER_GROUP, IMPORT_TOPICS), (SEGMENT_WORKER_GROUP, ACTIVITY_TOPICS))


def list_dead_letters(reading: Reading, asked: ListDeadLetters) -> dict[str, Any]:
    """The newest, oldest first; `more`: the topic has earlier ones."""
    bootstrap = _kafka(reading)
    found = dead_letters.read(bootstrap, limit=asked.limit + 1)
    shown = [dead_letters.letter_record(offset, letter) for offset, letter in found[-asked.limit :]]
    return {"items": shown, "more": len(found) > asked.limit}


def replay_dead_letters(reading: Reading, asked: ReplayDeadLetters) -> dict[str, Any]:
    """How many were sent. Raises `UserError` NO_SUCH_DEAD_LETTER."""
    bootstrap = _kafka(reading)
    letters = dead_letters.read(bootstrap, offsets=asked.numbers)
    if asked.numbers is not None:
        letters = dead_letters.select(letters, asked.numbers)
    return {"sent": dead_letters.replay(bootstrap, letters)}


def list_workers(reading: Reading, _: ListWorkers) -> dict[str, Any]:
    """As `muster status` shows them, and how many jobs wait for one."""
    context = reading.context
    waiting = waiting_jobs(now_ms(), jobs=context.jobs, progress=context.progress)
    return {
        "items": [as_record(one) for one in running_workers(context.settings)],
        "waiting": None if waiting is None else as_record(waiting),
    }


def read_lag(reading: Reading, _: ReadLag) -> dict[str, Any]:
    """For each group, topic and partition: the end, what is acknowledged, and how many messages lie between."""
    bootstrap, partitions = _kafka(reading), reading.context.settings.partitions
    items = []
    for name, topics in GROUPS:
        group = WorkerGroup(bootstrap, partitions, name=name, topics=topics)
        try:
            committed, ends = group.committed(), group.ends()
        except KafkaException as exc:
            raise kafka_error(exc, f"reading the lag of {name}") from exc
        behind = unacknowledged(committed, ends)
        items += [
            {
                "group": name,
                "topic": topic,
                "partition": partition,
                "committed": max(committed[topic, partition], 0),
                "end": end,
                "lag": behind[topic, partition],
            }
            for (topic, partition), end in sorted(ends.items())
        ]
    return {"items": items, "as_of": iso(now_ms())}


def _kafka(reading: Reading) -> str:
    """The address of Kafka. Raises `RetriableError` STACK_NOT_RUNNING."""
    require_services(reading.context.settings, "Kafka")
    return reading.context.settings.kafka_bootstrap


ANSWERS: Final = {
    ListDeadLetters: list_dead_letters,
    ReplayDeadLetters: replay_dead_letters,
    ListWorkers: list_workers,
    ReadLag: read_lag,
}
