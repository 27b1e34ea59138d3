"""Dead letters: records that no worker could process, read from their topic without a group and resent on request."""

import base64
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from connectors.kafka.errors import kafka_error
from connectors.kafka.logon import librdkafka_config, metadata, raise_refusals
from connectors.kafka.topic_ids import TopicIds
from orchestration.catalog.dead_letter_marks import DeadLetterMark, SentLetter
from orchestration.platform.clock import iso, now_ms
from schemas.codec import CODEC, UndecodableError
from schemas.dead_letters import DeadLetterState
from schemas.errors import RetriableError, UserError
from schemas.messages import DeadLetter
from schemas.records import as_record
from schemas.topics import DEAD_LETTERS

TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.2
PARTITION: Final = 0
"""The topic has one partition (`schemas.topics`)."""
MAX_SELECTED: Final = 10_000
"""Letters that one request replays or dismisses."""

Numbered = tuple[int, DeadLetter]
"""(offset in the dead-letter topic, dead letter)"""
Marks = Mapping[int, DeadLetterMark]


class DeadLetterLog:
    """The topic as of the moment it was opened: its `topic_id`, and the `numbers` of its letters.

    Opening and reading raise `RetriableError` KAFKA_UNAVAILABLE, TOPIC_MISSING, `FatalError` LOGON_REFUSED.
    """

    def __init__(self, bootstrap: str) -> None:
        self._consumer = Consumer(
            {
                **librdkafka_config(bootstrap),
                "group.id": f"muster-dead-letters-{now_ms()}",  # required by the client; nothing is ever committed
                "enable.auto.commit": False,
                "enable.partition.eof": False,
                "auto.offset.reset": "earliest",
                "log_level": 2,
            }
        )
        try:
            metadata(self._consumer, DEAD_LETTERS, TIMEOUT_S)  # fails here within a second if the logon is refused
            self.topic_id = TopicIds(bootstrap).topic_id(DEAD_LETTERS)
            with raise_refusals(self._consumer):
                low, high = self._consumer.get_watermark_offsets(
                    TopicPartition(DEAD_LETTERS, PARTITION), timeout=TIMEOUT_S
                )
        except KafkaException as exc:
            self._consumer.close()
            raise kafka_error(exc, f"reading {DEAD_LETTERS}") from exc
        except BaseException:
            self._consumer.close()
            raise
        self.numbers = range(low, high)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def letters(self, first: int, last: int | None = None) -> Iterator[Numbered]:
        """Letters from a number on, oldest first. `last`: the last one that is wanted."""
        end = self.numbers.stop if last is None else min(last + 1, self.numbers.stop)
        first = max(first, self.numbers.start)
        if first >= end:
            return
        try:
            self._consumer.assign([TopicPartition(DEAD_LETTERS, PARTITION, first)])
            yield from self._until(end)
        except KafkaException as exc:
            raise kafka_error(exc, f"reading {DEAD_LETTERS}") from exc

    def _until(self, end: int) -> Iterator[Numbered]:
        last_heard = time.monotonic()
        while True:
            message = self._consumer.poll(POLL_S)
            if message is None:
                if time.monotonic() - last_heard > TIMEOUT_S:
                    raise RetriableError("KAFKA_UNAVAILABLE", f"{DEAD_LETTERS} does not answer")
                continue
            if (error := message.error()) is not None:
                raise kafka_error(KafkaException(error), f"reading {DEAD_LETTERS}")
            last_heard = time.monotonic()
            offset = message.offset() or 0
            if offset < end:
                yield from _decoded(offset, message.value())
            if offset + 1 >= end:
                return


def _decoded(offset: int, value: bytes | None) -> list[Numbered]:
    try:
        letter = CODEC.decode(value)
    except UndecodableError:
        return []  # not ours: something else wrote to the topic
    return [(offset, letter)] if isinstance(letter, DeadLetter) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Letters that a request names, or all open ones of a topic, with a code ("": without one), up to a number.

    None: any.
    """

    numbers: tuple[int, ...] | None = None
    topic: str | None = None
    code: str | None = None
    up_to: int | None = None


def select(log: DeadLetterLog, marks: Marks, wanted: Selection) -> tuple[list[int], bool]:
    """The numbers of the letters, oldest first, at most `MAX_SELECTED`; whether there are more.

    Raises `UserError` NO_SUCH_DEAD_LETTER with those that were named and do not exist.
    """
    if wanted.numbers is not None:
        named = sorted(set(wanted.numbers))
        found = {number for number, _ in log.letters(named[0], named[-1])}
        if missing := [number for number in named if number not in found]:
            raise no_such_letter(*missing)
        return named, False
    matching = (
        number
        for number, letter in log.letters(log.numbers.start, wanted.up_to)
        if number not in marks and wanted.topic in {None, letter.topic} and wanted.code in {None, code_of(letter) or ""}
    )
    found_numbers = [number for number, _ in zip(matching, range(MAX_SELECTED + 1), strict=False)]
    return found_numbers[:MAX_SELECTED], len(found_numbers) > MAX_SELECTED


def no_such_letter(*missing: int) -> UserError:
    """The error for letters that do not exist, or no longer."""
    return UserError(
        "NO_SUCH_DEAD_LETTER",
        f"no dead letter {', '.join(map(str, missing))}; `muster dead-letters list` lists them",
        missing=list(missing),
    )


def newest(
    log: DeadLetterLog, marks: Marks, *, limit: int, states: Collection[DeadLetterState], now_ms: int
) -> tuple[list[dict[str, Any]], bool]:
    """The newest letters in these states (none: in any), oldest first; whether there are earlier ones."""

    def wanted(number: int) -> bool:
        return not states or _state(marks.get(number), now_ms) in states

    count = limit + 1
    while True:
        first, outcomes = first_of(log.numbers, count, wanted), Outcomes(marks)
        kept: deque[Numbered] = deque(maxlen=limit + 1)
        for number, letter in log.letters(first):
            outcomes.see(number, letter)
            if wanted(number):
                kept.append((number, letter))
        if len(kept) > limit or first == log.numbers.start:
            break
        count *= 2  # records of other programs are no letters
    shown = list(kept)[-limit:]
    return [outcomes.record(number, letter, now_ms) for number, letter in shown], len(kept) > limit


def first_of(numbers: range, count: int, wanted: Callable[[int], bool]) -> int:
    """Where the newest `count` of the wanted numbers begin."""
    for number in reversed(numbers):
        count -= wanted(number)
        if not count:
            return number
    return numbers.start


class Outcomes:
    """Which letters came of which: a record that is refused again is a letter whose position is that of the replay.

    Such a letter comes later than the one that was replayed, so it is known once all later ones have been seen.
    """

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._sent = {
            (mark.sent_topic, mark.sent_partition, mark.sent_offset): number
            for number, mark in marks.items()
            if mark.sent_offset is not None
        }
        self._refused: dict[int, int] = {}

    def see(self, number: int, letter: DeadLetter) -> None:
        """Take note of a letter."""
        replayed = self._sent.get((letter.topic, letter.partition, letter.offset))
        if replayed is not None:
            self._refused[replayed] = number

    def record(self, number: int, letter: DeadLetter, now_ms: int) -> dict[str, Any]:
        """A letter as plain JSON data, without its bytes."""
        mark = self._marks.get(number)
        return {
            "dead_letter": number,
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "bytes": len(letter.value),
            "code": code_of(letter),
            "reason": letter.reason,
            "failed_at": iso(letter.failed_at_us // 1000),
            "starts_with": letter.value[:32].hex(),
            "state": _state(mark, now_ms),
            "state_at": None if mark is None else iso(mark.at_ms),
            "state_by": None if mark is None else mark.principal,
            "sent_offset": None if mark is None else mark.sent_offset,
            "refused_as": self._refused.get(number),
            "replay_of": self._sent.get((letter.topic, letter.partition, letter.offset)),
        }


def whole(log: DeadLetterLog, marks: Marks, number: int, *, now_ms: int) -> dict[str, Any]:
    """One letter with its key and value: in base64, and as text if they are UTF-8. Raises NO_SUCH_DEAD_LETTER."""
    outcomes, found = Outcomes(marks), None
    replayed = number in marks and marks[number].sent_offset is not None
    for one, letter in log.letters(number, None if replayed else number):
        outcomes.see(one, letter)
        if one == number:
            found = letter
    if found is None:
        raise no_such_letter(number)
    return {
        **outcomes.record(number, found, now_ms),
        "key": None if found.key is None else base64.b64encode(found.key).decode(),
        "key_text": _text(found.key),
        "value": base64.b64encode(found.value).decode(),
        "value_text": _text(found.value),
    }


def code_of(letter: DeadLetter) -> str | None:
    """The code that a reason begins with; reasons about imports have none."""
    code, colon, _ = letter.reason.partition(":")
    return code if colon and code.isidentifier() else None


def _text(data: bytes | None) -> str | None:
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return None


def _state(mark: DeadLetterMark | None, now_ms: int) -> DeadLetterState:
    return "open" if mark is None else mark.state_at(now_ms)


def send_again(bootstrap: str, letters: Iterable[Numbered]) -> tuple[list[SentLetter], str | None]:
    """Send the original bytes to the original topic and partition again.

    Returns which were sent and where they are now, and why the others were not. A worker may refuse them again.
    """
    sent: list[SentLetter] = []
    failed: list[str] = []
    producer = Producer({**librdkafka_config(bootstrap), "enable.idempotence": True, "acks": "all", "log_level": 2})

    def delivered(number: int) -> Callable[[Any, Any], None]:
        def take(error: Any, message: Any) -> None:
            if error is not None:
                failed.append(error.str())
                return
            position = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
            sent.append(SentLetter(dead_letter=number, **position))

        return take

    try:
        for number, letter in letters:
            producer.produce(
                letter.topic, letter.value, key=letter.key, partition=letter.partition, on_delivery=delivered(number)
            )
            producer.poll(0)
    except KafkaException as exc:
        failed.append(str(kafka_error(exc, "resending dead letters")))
    if producer.flush(TIMEOUT_S):
        failed.append(f"no answer within {TIMEOUT_S:g} s")
    return sent, failed[0] if failed else None


def sent_record(sent: Iterable[SentLetter], failed: str | None) -> dict[str, Any]:
    """What was sent, as plain JSON data."""
    return {"sent": [as_record(one) for one in sent], "failed": failed}
