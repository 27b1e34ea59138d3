"""Counts what a worker does."""

from collections import Counter

from schemas.metrics import Metric, Sample


class Counters:
    """Counters by metric and label values. Counted in the event loop, read from any thread."""

    def __init__(self) -> None:
        self._values: Counter[tuple[Metric, tuple[str, ...]]] = Counter()

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Count."""
        self._values[metric, tuple(labels[name] for name in metric.labels)] += amount  # type: ignore[assignment]

    def samples(self) -> list[Sample]:
        """Every counter that has counted something, by name."""
        values = dict(self._values).items()  # a copy: the loop goes on counting
        found = [Sample(metric=metric, value=value, labels=labels) for (metric, labels), value in values]
        return sorted(found, key=str)
