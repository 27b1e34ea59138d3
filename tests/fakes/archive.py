"""In-memory archive of events and profiles: takes records from the logs of a deployment when a test asks it to."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from connectors.lake.activity_receipts import ALL, StoredRows
from schemas.activity import SOURCE, SOURCE_ORDINAL
from schemas.errors import RetriableError
from schemas.ids import Partition, TenantName
from schemas.topics import EVENTS
from segmentation.archived import ArchivedLog
from segmentation.intake.events import ingest_events
from segmentation.intake.profiles import ingest_profiles
from segmentation.intake.topic_records import TopicRecord
from tests.fakes.import_log import InMemoryTopicLog

RECEIVED_AT_US = 1_795_608_000_000_000
"""2026-11-25T12:00:00Z"""


class InMemoryArchive:
    """`ActivityArchive.archived_to` and `ActivityReceipts.stored`, over records taken in as a worker does."""

    def __init__(self, logs: Mapping[str, InMemoryTopicLog]) -> None:
        self._logs = logs
        self._ends: dict[str, dict[Partition, int]] = {}
        self.asked = 0
        self.away = False
        self.recreated = ArchivedLog()

    def take(self, topic: str, *partitions: int) -> None:
        """Archive everything in these partitions of a log, or in all."""
        log = self._logs[topic]
        for number in partitions or range(log.partitions()):
            self._ends.setdefault(topic, {})[Partition(number)] = len(log.messages[number])

    def archived_to(self, topic: str) -> Mapping[Partition, int]:
        self.asked += 1
        if self.away:
            raise RetriableError("LAKE_UNAVAILABLE", "no answer")
        return dict(self._ends.get(topic, {}))

    def log(self, topic: str, *, topic_id: str | None = None) -> ArchivedLog:
        del topic, topic_id
        return self.recreated

    def rows(self, topic: str, partition: Partition) -> pa.RecordBatch:
        """Archived rows of a partition."""
        log = self._logs[topic]
        values = log.messages[partition][: self._ends.get(topic, {}).get(partition, 0)]
        records = [
            TopicRecord(
                topic=topic,
                partition=partition,
                offset=offset,
                key=None,
                value=value,
                received_at_us=RECEIVED_AT_US,
            )
            for offset, value in enumerate(values)
        ]
        take = ingest_events if topic == EVENTS else ingest_profiles
        return take(records, log.partitions()).rows

    def stored(
        self, topic: str, tenant: TenantName, sources: Sequence[str], *, since: Mapping[Partition, int] = ALL
    ) -> Mapping[Partition, StoredRows]:
        found = {}
        for number in range(self._logs[topic].partitions()):
            partition = Partition(number)
            known: set[tuple[object, ...]] = set()
            rows, ordinals, new = 0, set(), 0
            for row in self.rows(topic, partition).to_pylist():
                same = tuple(row.get(name) for name in ("tenant", "user_id", "event", "occurred_at", "identity"))
                if row["tenant"] == tenant and row[SOURCE] in sources and row["offset"] >= since.get(partition, 0):
                    rows += 1
                    ordinals.add((row[SOURCE], row[SOURCE_ORDINAL]))
                    new += same not in known
                known.add(same)
            if rows:
                count = len(ordinals)
                found[partition] = StoredRows(rows=rows, ordinals=count, new=new if topic == EVENTS else count)
        return found
