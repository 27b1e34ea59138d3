from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.worker_group import WorkerGroup
from orchestration.control.scaled_workers import ScaledWorkers

P = ("muster.imports", 0)


def away() -> int:
    raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))


def three() -> int:
    return 3


@pytest.mark.parametrize(("imports", "expected"), [(three, 3), (away, None)])
def test_counts_follow_the_lag_which_is_unknown_while_kafka_is_away(
    imports: Callable[[], int], expected: int | None
) -> None:
    followed: list[dict[str, Any]] = []
    groups: Any = SimpleNamespace(
        imports=SimpleNamespace(lag=imports, name="w"), activity=SimpleNamespace(lag=three, name="s")
    )
    scaler: Any = SimpleNamespace(follow=lambda **given: followed.append(given))

    ScaledWorkers(scaler, groups).tick(7)

    assert followed == [{"lag": expected, "activity_lag": 3, "now_ms": 7}]


@pytest.mark.parametrize(
    ("committed", "start", "end", "lag"),
    [(10, 0, 10, 0), (10, 0, 12, 2), (-1, 0, 4, 4), (-1, 9, 9, 0), (-1, 7, 9, 2)],
    ids=["done", "behind", "new", "expired", "partly expired"],
)
def test_messages_that_kafka_has_deleted_are_no_lag(committed: int, start: int, end: int, lag: int) -> None:
    group = WorkerGroup("127.0.0.1:1", 1, topics=(P[0],))
    group._committed = SimpleNamespace(read=lambda _: {P: committed})  # type: ignore[assignment]
    group._log = SimpleNamespace(  # type: ignore[assignment]
        starts=lambda *_: {P: start}, ends=lambda *_: {P: end}
    )
    assert group.lag() == lag
