"""In-memory parts of publishing: an attempt, a topic, workers that take on demand, a fence, parsed rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import pyarrow as pa

from connectors.publishing.attempts import AudienceAttempt
from connectors.publishing.ports import Delivery
from connectors.sources.rejects import RejectBatch
from schemas.codec import CODEC
from schemas.columns import RowSchema
from schemas.errors import MusterError
from schemas.ids import Attempt, AudienceName, JobId, Partition, TenantName
from schemas.messages import Message


def audience_attempt(partitions: int, columns: RowSchema = RowSchema()) -> AudienceAttempt:  # noqa: B008  # frozen
    """The second attempt of an import into acme's audience vip."""
    return AudienceAttempt(
        tenant=TenantName("acme"),
        audience=AudienceName("vip"),
        import_id=JobId("01jd0000000000000000000000"),
        attempt=Attempt(2),
        partitions=partitions,
        mode="replace",
        source="s3://inbox/acme/vip/users.csv?versionId=7",
        columns=columns,
        data_prefix="s3://lake/audiences/acme/x/data/",
    )


class InMemoryTopicLog:
    """`TopicLog` with a queue of `room` messages; `poll` acknowledges them in order.

    `fail` is raised in place of the `fail_at`-th acknowledgement (1..). `keyed`: keys and values, as offered.
    """

    def __init__(
        self, partitions: int, *, room: int = 1_000, fail_at: int | None = None, fail: MusterError | None = None
    ) -> None:
        self.topic = "muster.imports"
        self.messages: list[list[bytes]] = [[] for _ in range(partitions)]
        self.abandoned = False
        self.keyed: list[list[tuple[bytes | None, bytes | None]]] = [[] for _ in range(partitions)]
        self._queue: list[tuple[Partition, bytes | None, bytes | None]] = []
        self._room = room
        self._acknowledged = 0
        self._fail_at = fail_at
        self._fail = fail

    def partitions(self) -> int:
        """Number of partitions."""
        return len(self.messages)

    def offer(self, partition: Partition, value: bytes | None, key: bytes | None = None) -> bool:
        """Queue a message."""
        if len(self._queue) >= self._room:
            return False
        self._queue.append((partition, value, key))
        return True

    def poll(self, timeout_s: float) -> tuple[Delivery, ...]:
        """Acknowledge the queued messages."""
        del timeout_s
        deliveries = []
        while self._queue:
            partition, value, key = self._queue.pop(0)
            self._acknowledged += 1
            if self._acknowledged == self._fail_at and self._fail is not None:
                raise self._fail
            sent = value or b""
            deliveries.append(Delivery(partition=partition, offset=len(self.messages[partition]), size=len(sent)))
            self.messages[partition].append(sent)
            self.keyed[partition].append((key, value))
        return tuple(deliveries)

    def flush(self, timeout_s: float) -> tuple[Delivery, ...]:
        """Same as `poll`."""
        return self.poll(timeout_s)

    def unacknowledged(self) -> int:
        """Number of queued messages."""
        return len(self._queue)

    def abandon(self) -> None:
        """Drop the queue."""
        self.abandoned = True
        self._queue.clear()

    def decoded(self, partition: int) -> list[Message]:
        """Messages of a partition."""
        return [_decoded(value) for value in self.messages[partition]]

    def kinds(self, partition: int) -> list[str]:
        """Message type names of a partition."""
        return [type(message).__name__ for message in self.decoded(partition)]


@lru_cache(10_000)
def _decoded(value: bytes) -> Message:
    """Cached, since tests read all messages again and again."""
    return CODEC.decode(value)


@dataclass(slots=True)
class StepWorkers:
    """`Backlog` of workers that take the whole log on every call; `lazy` ones never do."""

    log: InMemoryTopicLog
    lazy: bool = False
    asked: int = 0
    largest_backlog: int = 0
    position: list[int] = field(default_factory=list)

    def committed(self) -> tuple[int, ...]:
        """Positions; 0 for partitions from which nothing was taken."""
        self.asked += 1
        self.position = self.position or [0] * self.log.partitions()
        behind = [len(sent) - taken for sent, taken in zip(self.log.messages, self.position, strict=True)]
        self.largest_backlog = max(self.largest_backlog, *behind)
        if not self.lazy:
            self.position = [len(sent) for sent in self.log.messages]
        return tuple(self.position)


@dataclass(slots=True)
class ScriptedFence:
    """`Fence` that raises from the `stop_at`-th check on (1..)."""

    stop_at: int | None = None
    stop: Callable[[], Exception] = RuntimeError
    asked: int = 0

    def check(self) -> None:
        """Raise once `stop_at` is reached."""
        self.asked += 1
        if self.stop_at is not None and self.asked >= self.stop_at:
            raise self.stop()


class SteppingClock:
    """A clock that advances by a fixed step on every read."""

    def __init__(self, step_s: float = 0.0) -> None:
        self._now = 0.0
        self._step_s = step_s

    def __call__(self) -> float:
        self._now += self._step_s
        return self._now


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSummary:
    """Counts of a parsed file."""

    rows: int
    accepted: int
    rejected: int = 0
    rejected_by_code: dict[str, int] = field(default_factory=dict)
    source_bytes: int = 100
    decoded_bytes: int = 100


class NoRejects:
    """Drops rejects."""

    def write(self, rejects: RejectBatch) -> None:
        pass

    def finish(self) -> str | None:
        return None


class GivenRows:
    """`ParsedRows` from given items; `fault` is raised after the last one."""

    def __init__(
        self,
        *items: pa.RecordBatch | RejectBatch,
        source_bytes: int = 100,
        decoded_bytes: int = 100,
        fault: Exception | None = None,
    ) -> None:
        self._items = items
        self._fault = fault
        self.file = 0
        rejects = [item for item in items if isinstance(item, RejectBatch)]
        codes = [code for reject in rejects for code in reject.batch.column("code").to_pylist()]
        accepted = sum(item.num_rows for item in items) - len(codes)
        self.summary = GivenSummary(
            rows=accepted + len(codes),
            accepted=accepted,
            rejected=len(codes),
            rejected_by_code={code: codes.count(code) for code in codes},
            source_bytes=source_bytes,
            decoded_bytes=decoded_bytes,
        )

    def __iter__(self) -> Iterator[pa.RecordBatch | RejectBatch]:
        yield from self._items
        if self._fault is not None:
            raise self._fault
