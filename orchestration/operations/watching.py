"""Guards of workers that come on demand: somebody who is never asleep looks whether work waits without workers.

1. `Watcher`, once a minute: what Kafka and Step Functions show. The catalog is used only if work waits for a group that
   has no member, so that a database without work can pause.
2. `wait_again`: a job whose control plane has been silent for the time of a heartbeat.
"""

import logging
from dataclasses import dataclass
from typing import Final, Protocol

from confluent_kafka import KafkaException

from connectors.kafka.errors import kafka_error
from orchestration.kinds.records import ImportRecords, View
from orchestration.operations.scaling import Scaler
from schemas.errors import FatalError, MusterError
from schemas.ids import JobId
from segmentation.scaling import Scaled

_log: Final = logging.getLogger(__name__)


class Group(Protocol):
    """`connectors.kafka.worker_group.WorkerGroup`; both methods raise `KafkaException`."""

    def lag(self) -> int:
        """Messages that are not acknowledged."""
        ...

    def members(self) -> int:
        """Number of members."""
        ...


class Executions(Protocol):
    """`workflow.engine.WorkflowEngine`."""

    def any_running(self) -> bool:
        """Whether an execution of any state machine runs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the watcher saw: messages of both kinds of workers, parts without a process, whether an execution runs."""

    lag: int
    activity_lag: int
    absent: frozenset[Scaled]
    running: bool

    @property
    def unserved(self) -> int:
        """Messages whose workers are absent."""
        lags = {Scaled.WORKER: self.lag, Scaled.SEGMENT_WORKER: self.activity_lag}
        return sum(lag for part, lag in lags.items() if part in self.absent)

    @property
    def uncontrolled(self) -> bool:
        """Whether there is work and no control plane."""
        return Scaled.RELAY in self.absent and (self.running or self.lag > 0 or self.activity_lag > 0)

    @property
    def waits(self) -> bool:
        """Whether work waits for a part that is absent. An execution may wait for any of them."""
        return self.unserved > 0 or self.uncontrolled or (self.running and bool(self.absent))


class Watcher:
    """Looks at Kafka and Step Functions. `groups`: the parts, each with its consumer group."""

    def __init__(
        self, *, workers: Group, segment_workers: Group, relay: Group, executions: Executions, scaler: Scaler
    ) -> None:
        self._workers = workers
        self._segment_workers = segment_workers
        self._relay = relay
        self._executions = executions
        self._scaler = scaler

    def watch(self, now_ms: int) -> Sight | None:
        """Give absent parts their counts again if work waits for them. None if all counts are fixed.

        Raises `RetriableError` KAFKA_UNAVAILABLE, CATALOG_UNAVAILABLE, ENGINE_UNAVAILABLE, and `FatalError` as these
        servers do; the next minute tries again.
        """
        if self._scaler.fixed:
            return None
        sight = self._look()
        if sight.waits:
            _log.info("there is work, and no process of %s", ", ".join(sorted(sight.absent)))
            self._scaler.renew(now_ms, lag=sight.lag, activity_lag=sight.activity_lag, absent=sight.absent)
        return sight

    def _look(self) -> Sight:
        groups = {
            Scaled.WORKER: self._workers,
            Scaled.SEGMENT_WORKER: self._segment_workers,
            Scaled.RELAY: self._relay,
        }
        try:
            return Sight(
                lag=self._workers.lag(),
                activity_lag=self._segment_workers.lag(),
                absent=frozenset(part for part, group in groups.items() if not group.members()),
                running=self._executions.any_running(),
            )
        except KafkaException as exc:
            raise kafka_error(exc, "watching the workers") from exc


def wait_again(records: ImportRecords, scaler: Scaler, job_id: JobId, now_ms: int) -> View:
    """The view of a job after its wait had no heartbeat: start the workers again, and let the job wait further.

    Its age limits that: capacity may be missing for as long. With fixed counts nobody starts them. Raises `FatalError`
    NO_HEARTBEAT then.
    """
    if scaler.fixed:
        raise FatalError("NO_HEARTBEAT", "no worker has made progress, or no control plane runs, for five minutes")
    try:
        scaler.renew(now_ms)
    except MusterError as exc:
        _log.error("cannot start workers for job %s, which is tried again later: %s", job_id, exc)
    return records.view(records.jobs.get(job_id))
