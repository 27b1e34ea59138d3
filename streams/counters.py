"""Counts what a worker does, and shows it as one line."""

from collections import Counter

from schemas.metrics import Metric


class Counters:
    """Counters by metric and label values. Lives in the event loop."""

    def __init__(self) -> None:
        self._values: Counter[tuple[Metric, tuple[tuple[str, str], ...]]] = Counter()

    def add(self, metric: Metric, amount: int = 1, **labels: str) -> None:
        """Count."""
        self._values[metric, tuple(sorted(labels.items()))] += amount

    def samples(self) -> list[str]:
        """Every counter that has counted something, by name."""
        return sorted(metric.sample(value, **dict(labels)) for (metric, labels), value in self._values.items())
