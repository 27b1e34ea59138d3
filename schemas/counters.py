"""What a process counts and observes while it runs."""

from collections import Counter
from typing import Final

from schemas.metrics import Metric, Sample

Key = tuple[Metric, tuple[str, ...]]


class Counters:
    """Counters and histograms by metric and label values. Read from any thread; each is updated by one."""

    def __init__(self) -> None:
        self._values: Final[Counter[Key]] = Counter()
        self._observed: Final[dict[Key, tuple[float, tuple[int, ...]]]] = {}

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Add `amount` to a counter."""
        self._values[metric, tuple(labels[name] for name in metric.labels)] += amount  # type: ignore[assignment]

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put an observation into the buckets of a histogram."""
        key = metric, tuple(labels[name] for name in metric.labels)
        total, counts = self._observed.get(key) or (0.0, (0,) * (len(metric.buckets) + 1))
        at = metric.bucket(value)
        self._observed[key] = total + value, (*counts[:at], counts[at] + 1, *counts[at + 1 :])  # at once, for readers

    def samples(self) -> list[Sample]:
        """Every counter that is not zero and every histogram that is not empty, sorted."""
        values, observed = dict(self._values), dict(self._observed)  # copies: others keep counting
        found = [Sample(metric=metric, value=value, labels=labels) for (metric, labels), value in values.items()]
        found += [
            Sample(metric=metric, value=total, labels=labels, counts=counts)
            for (metric, labels), (total, counts) in observed.items()
        ]
        return sorted(found, key=str)
