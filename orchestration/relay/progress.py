"""Progress topic -> catalog. Offsets are committed after the rows are, so a crash repeats some, which is harmless."""

import logging
import threading
from typing import Final

from confluent_kafka import KafkaException, Message

from orchestration.clock import now_ms
from orchestration.context import Context
from orchestration.relay.reading import group_consumer, raise_if_fatal
from orchestration.steps.materialised import as_row
from schemas.codec import CODEC, UndecodableError
from schemas.errors import RetriableError
from schemas.messages import PartitionFailed, PartitionMaterialised
from schemas.topics import IMPORT_PROGRESS, RELAY_GROUP

BATCH: Final = 500
POLL_S: Final = 0.2
RETRY_S: Final = 1.0
_log = logging.getLogger(__name__)


class ProgressConsumer:
    """Reads the progress topic in a thread of its own until `stop` is set."""

    def __init__(self, context: Context, stop: threading.Event, changed: threading.Event) -> None:
        self._context = context
        self._stop = stop
        self._changed = changed
        self._consumer = group_consumer(context.settings.kafka_bootstrap, RELAY_GROUP)

    def run(self) -> None:
        """Consume until stopped. Raises `FatalError` when Kafka refuses for good."""
        self._consumer.subscribe([IMPORT_PROGRESS])
        try:
            while not self._stop.is_set():
                self._take(self._consumer.consume(BATCH, POLL_S))
        finally:
            self._consumer.close()

    def _take(self, messages: list[Message]) -> None:
        rows = []
        for message in messages:
            if (error := message.error()) is not None:
                raise_if_fatal(error, IMPORT_PROGRESS)
                continue
            try:
                decoded = CODEC.decode(message.value())
            except UndecodableError as exc:
                _log.error("%s offset %s: %s", IMPORT_PROGRESS, message.offset(), exc)
                continue
            if isinstance(decoded, PartitionMaterialised | PartitionFailed):
                rows.append(as_row(decoded, now_ms()))
        if not messages:
            return
        while rows and not self._stop.is_set():
            try:
                self._context.progress.put_partitions(rows)
                break
            except RetriableError as exc:
                _log.warning("%s", exc)
                self._stop.wait(RETRY_S)
        if self._stop.is_set():
            return
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as exc:  # the rows are kept; the next commit covers these messages too
            _log.warning("progress offsets were not committed: %s", exc)
        self._changed.set()
