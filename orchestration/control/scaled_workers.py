"""Lets workers, and this control plane itself, leave when there is no work, and has more of them when there is much."""

import logging
from typing import Final

from confluent_kafka import KafkaException

from connectors.kafka.worker_group import WorkerGroup
from orchestration.control.worker_groups import WorkerGroups
from orchestration.operations.scaling import Scaler

FOLLOW_S: Final = 10.0
"""Between two decisions. Whoever adds work decides at once; this is for lag, and for leaving."""
_log = logging.getLogger(__name__)


class ScaledWorkers:
    """Follows the lag of both groups."""

    def __init__(self, scaler: Scaler, groups: WorkerGroups) -> None:
        self._scaler = scaler
        self._groups = groups

    def tick(self, now_ms: int) -> None:
        """Decide and apply the counts. Raises as `Scaler.follow`; while Kafka does not answer, nothing leaves."""
        groups = self._groups
        self._scaler.follow(lag=_lag(groups.imports), activity_lag=_lag(groups.activity), now_ms=now_ms)


def _lag(group: WorkerGroup) -> int | None:
    try:
        return group.lag()
    except KafkaException as exc:
        _log.warning("the lag of %s is unknown: %s", group.name, exc)
        return None
