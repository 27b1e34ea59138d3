"""Consumes a topic into the catalog. Offsets are committed after the rows, so a crash only repeats some rows."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka import Message as Record

from orchestration.control.group_consumer import GroupConsumer, raise_if_fatal
from schemas import tracing
from schemas.codec import CODEC, UndecodableError
from schemas.errors import RetriableError
from schemas.log_ids import ids_in
from schemas.messages import Message
from schemas.tracing import Span, TraceContext, record_past

BATCH: Final = 500
POLL_S: Final = 1.0
RETRY_S: Final = 1.0
_log = logging.getLogger(__name__)


class TopicFold:
    """Consumes a topic until `stop` is set. `put` is idempotent: it may get messages that it has written before.

    `put` is retried when it raises `RetriableError`. `changed` is set after each batch.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        group: str,
        put: Callable[[list[Message]], None],
        stop: threading.Event,
        changed: threading.Event,
    ) -> None:
        self._topic = topic
        self._put = put
        self._stop = stop
        self._changed = changed
        self._consumer = GroupConsumer(bootstrap, group, topic)

    def run(self) -> None:
        """Consume until stopped. Raises `FatalError` when Kafka refuses permanently."""
        try:
            while not self._stop.is_set():
                if first := self._consumer.consume(1, POLL_S):  # returns at once, unlike for a batch
                    self._handle([*first, *self._consumer.consume(BATCH - 1, 0)])
        finally:
            self._consumer.close()

    def _handle(self, records: list[Record]) -> None:
        messages: list[Message] = []
        parents: list[tuple[Message, TraceContext]] = []
        began_ns = tracing.now_ns()
        for record in records:
            if (error := record.error()) is not None:
                raise_if_fatal(error, self._topic)
                continue
            try:
                messages.append(message := CODEC.decode(record.value()))
                if began_ns and (trace := ids_in(_headers(record)).get("trace")) is not None:
                    parents.append((message, trace))
            except UndecodableError as exc:
                _log.error("%s offset %s: %s", self._topic, record.offset(), exc)
        while messages and not self._stop.is_set():
            try:
                self._put(messages)
                break
            except RetriableError as exc:
                _log.warning("%s", exc)
                self._stop.wait(RETRY_S)
        if self._stop.is_set():
            return
        for message, trace in parents:
            name = f"record {type(message).__name__}"
            record_past(Span(name=name, start_ns=began_ns, end_ns=tracing.now_ns(), parent=trace))
        try:
            self._consumer.commit()
        except KafkaException as exc:  # the rows are written; the next commit covers these messages too
            _log.warning("offsets of %s were not committed: %s", self._topic, exc)
        self._changed.set()


def _headers(record: Record) -> list[tuple[str, bytes | None]]:
    """Headers of texts are sent as bytes, too, and librdkafka gives them as a list."""
    given = record.headers()
    return [(name, value) for name, value in given if not isinstance(value, str)] if isinstance(given, list) else []
