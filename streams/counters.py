"""Counters of a worker's activity."""

from collections import Counter

from schemas.metrics import Metric, Sample


class Counters:
    """Counters by metric and label values. Updated in the event loop, read from any thread."""

    def __init__(self) -> None:
        self._values: Counter[tuple[Metric, tuple[str, ...]]] = Counter()

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Add `amount` to a counter."""
        self._values[metric, tuple(labels[name] for name in metric.labels)] += amount  # type: ignore[assignment]

    def samples(self) -> list[Sample]:
        """Every counter that is not zero, sorted."""
        values = dict(self._values).items()  # a copy: the event loop keeps counting
        found = [Sample(metric=metric, value=value, labels=labels) for (metric, labels), value in values]
        return sorted(found, key=str)
