"""Dead letters, workers and their lag, for those who run the deployment."""

from typing import Any, Final

from confluent_kafka import KafkaException

from connectors.feeds.topic_check import check_topic
from connectors.kafka.errors import kafka_error
from connectors.kafka.worker_group import WorkerGroup, unacknowledged
from orchestration.answers import dead_letters
from orchestration.answers.dead_letters import DeadLetterLog
from orchestration.answers.reading import Reading
from orchestration.catalog.dead_letter_marks import DeadLetterMarks
from orchestration.operations.availability import require_services
from orchestration.operations.workers import running_workers, waiting_jobs
from orchestration.platform.clock import iso, now_ms
from orchestration.readers.questions import (
    CheckFeedTopic,
    ListDeadLetters,
    ListWorkers,
    ReadDeadLetter,
    ReadLag,
    ReplayDeadLetters,
    SelectDeadLetters,
)
from schemas.records import as_record
from schemas.topics import ACTIVITY_TOPICS, IMPORT_TOPICS, SEGMENT_WORKER_GROUP, WORKER_GROUP

GROUPS: Final = ((WORKER_GROUP, IMPORT_TOPICS), (SEGMENT_WORKER_GROUP, ACTIVITY_TOPICS))


def check_feed_topic(reading: Reading, asked: CheckFeedTopic) -> dict[str, Any]:
    """Nothing. Raises as `connectors.feeds.topic_check.check_topic`."""
    check_topic(_kafka(reading), asked.topic, compacted=asked.compacted)
    return {}


def list_dead_letters(reading: Reading, asked: ListDeadLetters) -> dict[str, Any]:
    """The newest, oldest first; `more`: there are earlier ones."""
    with DeadLetterLog(_kafka(reading)) as log:
        items, more = dead_letters.newest(
            log, _marks(reading, log), limit=asked.limit, states=asked.states, now_ms=now_ms()
        )
    return {"items": items, "more": more}


def read_dead_letter(reading: Reading, asked: ReadDeadLetter) -> dict[str, Any]:
    """The letter. Raises `UserError` NO_SUCH_DEAD_LETTER."""
    with DeadLetterLog(_kafka(reading)) as log:
        return dead_letters.whole(log, _marks(reading, log), asked.number, now_ms=now_ms())


def select_dead_letters(reading: Reading, asked: SelectDeadLetters) -> dict[str, Any]:
    """The id of their topic, and their numbers; `more`: there are others. Raises `UserError` NO_SUCH_DEAD_LETTER."""
    wanted = dead_letters.Selection(numbers=asked.numbers, topic=asked.topic, code=asked.code, up_to=asked.up_to)
    with DeadLetterLog(_kafka(reading)) as log:
        numbers, more = dead_letters.select(log, _marks(reading, log), wanted)
        return {"topic_id": log.topic_id, "numbers": numbers, "more": more}


def replay_dead_letters(reading: Reading, asked: ReplayDeadLetters) -> dict[str, Any]:
    """Which were sent. Raises `UserError` NO_SUCH_DEAD_LETTER, before any is sent."""
    bootstrap, wanted = _kafka(reading), frozenset(asked.numbers)
    with DeadLetterLog(bootstrap) as log:
        same = log.topic_id == asked.topic_id
        letters = [one for one in log.letters(min(wanted), max(wanted)) if same and one[0] in wanted]
    if missing := wanted - {number for number, _ in letters}:
        raise dead_letters.no_such_letter(*sorted(missing))
    return dead_letters.sent_record(*dead_letters.send_again(bootstrap, letters))


def _marks(reading: Reading, log: DeadLetterLog) -> dead_letters.Marks:
    return DeadLetterMarks(reading.context.database).of(log.topic_id, since=log.numbers.start)


def list_workers(reading: Reading, _: ListWorkers) -> dict[str, Any]:
    """As `muster status` shows them, and how many jobs wait for one."""
    context = reading.context
    waiting = waiting_jobs(now_ms(), jobs=context.jobs, progress=context.progress)
    return {
        "items": [as_record(one) for one in running_workers(context.settings)],
        "waiting": None if waiting is None else as_record(waiting),
        "scaled": [as_record(one) for one in context.scaled_parts()],
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
    CheckFeedTopic: check_feed_topic,
    ListDeadLetters: list_dead_letters,
    ReadDeadLetter: read_dead_letter,
    SelectDeadLetters: select_dead_letters,
    ReplayDeadLetters: replay_dead_letters,
    ListWorkers: list_workers,
    ReadLag: read_lag,
}
