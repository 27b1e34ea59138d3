"""The lake's tables of all events and profiles: what the committer appends to, and what workers read of the past."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from connectors.lake.archive_commit import Appended
from schemas.activity import EVENT_ROWS, OFFSET, PROFILE_ROWS, TENANT
from schemas.activity_columns import EVENT, OCCURRED_AT
from schemas.columns import USER_ID
from schemas.errors import RetriableError
from schemas.ids import AudienceName, Partition, TenantName, Version
from schemas.layout import split_s3_uri
from schemas.segment_messages import ArchiveWritten
from schemas.topics import EVENTS, PROFILES
from segmentation.archived import ArchivedLog
from segmentation.archiving import Verdict, archived_rows, verdict
from tests.simulation.ports import Ports
from tests.simulation.stores import ObjectStore

SCHEMAS: Final[Mapping[str, pa.Schema]] = {EVENTS: EVENT_ROWS, PROFILES: PROFILE_ROWS}


def unavailable(text: str) -> RetriableError:
    return RetriableError("LAKE_UNAVAILABLE", text)


@dataclass
class Archive:
    """Both sides: `orchestration.control.archive_consumer.Archive` and `HistoricalActivity`.

    A commit is atomic, as the catalog's compare-and-swap makes it. Rows are kept by topic and partition.
    """

    ports: Ports
    store: ObjectStore
    partition_of: Callable[[str], int]
    logs: dict[str, ArchivedLog] = field(default_factory=lambda: dict.fromkeys(SCHEMAS, ArchivedLog()))
    ends: dict[tuple[str, Partition], int] = field(default_factory=dict)
    tables: dict[tuple[str, Partition], list[pa.Table]] = field(default_factory=dict)
    versions: dict[tuple[TenantName, AudienceName, Version], Sequence[str]] = field(default_factory=dict)

    # --- the committer -----------------------------------------------------------------------------------------------

    def append(self, topic: str, ranges: Sequence[ArchiveWritten], *, topic_id: str | None = None) -> Appended:
        del topic_id

        def act() -> Appended:
            verdicts = []
            for written in ranges:
                place = topic, written.partition
                verdicts.append(verdict(written, self.ends.get(place), self.logs[topic].epoch))
                if verdicts[-1] is not Verdict.APPEND:
                    self.ports.faults.saw(f"archive range {verdicts[-1].value}")
                if verdicts[-1] is Verdict.APPEND:
                    self.ends[place] = written.end_offset
                    if written.files:
                        self.tables.setdefault(place, []).append(self._rows(topic, written.files))
            return Appended(archived_to=self._ends(topic), verdicts=verdicts, unusable={}, files=0)

        return self.ports.call("catalog", f"append {len(ranges)} ranges to {topic}", act, unavailable)

    def archived_to(self, topic: str, *, topic_id: str | None = None) -> Mapping[Partition, int]:
        del topic_id
        return self.ports.call("catalog", f"end of the archive of {topic}", lambda: self._ends(topic), unavailable)

    def _ends(self, topic: str) -> dict[Partition, int]:
        return {partition: end for (name, partition), end in self.ends.items() if name == topic}

    def _rows(self, topic: str, files: Sequence[str]) -> pa.Table:
        stored = [self.store.find(*split_s3_uri(uri)) for uri in files]
        return archived_rows(topic, [one.body for one in stored if one is not None])

    def rebase(self, topics: Sequence[str]) -> None:
        """The logs of these topics begin anew, at the ends of the archive."""
        for topic in topics:
            self.logs[topic] = ArchivedLog(epoch=self.logs[topic].epoch + 1, base=self._ends(topic))

    # --- workers -----------------------------------------------------------------------------------------------------

    def find_logs(self) -> Mapping[str, ArchivedLog]:
        return self.ports.call("catalog", "find the archived logs", lambda: dict(self.logs), unavailable)

    def known_users(
        self, tenant: TenantName, partition: Partition, *, events: int, profiles: int
    ) -> Iterator[pa.StringArray]:
        for topic, before in ((EVENTS, events), (PROFILES, profiles)):
            for rows in self._past(topic, tenant, partition, 0, before):
                yield rows.column(USER_ID)

    def events(
        self,
        tenant: TenantName,
        partition: Partition,
        *,
        before: int,
        first: int = 0,
        names: Sequence[str] | None = None,
        since_us: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        since = None if since_us is None else pa.scalar(since_us, EVENT_ROWS.field(OCCURRED_AT).type)
        for rows in self._past(EVENTS, tenant, partition, first, before):
            found = rows if names is None else rows.filter(pc.is_in(rows.column(EVENT), pa.array(names, pa.string())))
            yield found if since is None else found.filter(pc.greater(found.column(OCCURRED_AT), since))

    def profiles(
        self, tenant: TenantName, partition: Partition, *, before: int, first: int = 0
    ) -> Iterator[pa.RecordBatch]:
        yield from self._past(PROFILES, tenant, partition, first, before)

    def members(
        self, tenant: TenantName, audience: AudienceName, version: Version, partition: Partition, partitions: int
    ) -> Iterator[pa.StringArray]:
        del partitions
        users = self.ports.call("object store", f"read {audience} {version}", lambda: self.versions, unavailable)
        yield pa.array([u for u in users[tenant, audience, version] if self.partition_of(u) == partition], pa.string())

    def _past(
        self, topic: str, tenant: TenantName, partition: Partition, first: int, before: int
    ) -> Iterator[pa.RecordBatch]:
        def act() -> pa.Table:
            if before > self.ends.get((topic, partition), 0):
                raise AssertionError(f"{topic}/{partition} is read up to {before}, but ends earlier")
            return pa.concat_tables([SCHEMAS[topic].empty_table(), *self.tables.get((topic, partition), ())])

        table = self.ports.call("catalog", f"read the archive of {topic}/{partition}", act, unavailable)
        offsets = table.column(OFFSET)
        wanted = pc.and_(pc.greater_equal(offsets, first), pc.less(offsets, before))
        yield from table.filter(pc.and_(wanted, pc.equal(table.column(TENANT), tenant))).to_batches()
