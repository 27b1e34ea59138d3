"""Metrics of a process at AWS: log lines in CloudWatch's embedded metric format (EMF), once a minute.

CloudWatch makes metrics of such lines by itself. OTLP would need a collector beside every process, or a signed request
from each; a line of the log needs neither.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from orchestration.platform.clock import now_ms
from schemas.metrics import EMBEDDED, Metric, Sample

_log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
MAX_VALUES: Final = 100
"""The most values of one metric in one line."""


def embedded_line(
    namespace: str, at_ms: int, values: Mapping[str, Any], dimensions: Mapping[str, str] = MappingProxyType({})
) -> str:
    """One line with metrics, by name, for the values of the dimensions."""
    directive = {
        "Namespace": namespace,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name} for name in values],
    }
    return json.dumps({"_aws": {"Timestamp": at_ms, "CloudWatchMetrics": [directive]}, **dimensions, **values})


class EmbeddedMetrics:
    """Turns the samples of a process into lines. CloudWatch adds up, so counters and histograms write what is new.

    A metric that has a `dimension` keeps that label; all others are written as one, whatever their labels.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._before: dict[tuple[Metric, tuple[str, ...]], Sample] = {}

    def lines(self, samples: Iterable[Sample], at_ms: int) -> list[str]:
        """The lines for the samples of this moment; none for what has not changed."""
        found: dict[tuple[tuple[str, str], ...], dict[Metric, list[Sample]]] = defaultdict(lambda: defaultdict(list))
        for sample in samples:
            if sample.metric in EMBEDDED and (new := self._new(sample)) is not None:
                found[_dimensions(sample)][sample.metric].append(new)
        return [
            embedded_line(
                self._namespace, at_ms, {m.name: _value(m, given) for m, given in metrics.items()}, dict(dimensions)
            )
            for dimensions, metrics in found.items()
        ]

    def _new(self, sample: Sample) -> Sample | None:
        """What has been counted or observed since the last call; the sample itself if it is a gauge."""
        if sample.metric.type == "gauge":
            return sample
        key = sample.metric, sample.labels
        before, self._before[key] = self._before.get(key), sample
        if before is None:
            return sample
        if before == sample:
            return None
        counts = tuple(now - then for now, then in zip(sample.counts, before.counts, strict=True))
        value = sample.value - before.value
        return Sample(metric=sample.metric, value=value, labels=sample.labels, counts=counts)


def write_metrics(namespace: str, read: Callable[[], Iterable[Sample]], stop: threading.Event | None = None) -> None:
    """Print the lines of a process every minute, in a thread, until `stop` is set."""
    metrics, stop = EmbeddedMetrics(namespace), stop or threading.Event()

    def run() -> None:
        while not stop.wait(EVERY_S):
            try:
                for line in metrics.lines(read(), now_ms()):
                    print(line, flush=True)  # noqa: T201  # the format wants the line as it is
            except Exception:  # noqa: BLE001  # the next minute may read them
                _log.exception("the metrics cannot be read")

    threading.Thread(target=run, name="embedded metrics", daemon=True).start()


def _dimensions(sample: Sample) -> tuple[tuple[str, str], ...]:
    kept = sample.metric.dimension
    return tuple(pair for pair in zip(sample.metric.labels, sample.labels, strict=True) if pair[0] == kept)


def _value(metric: Metric, samples: Sequence[Sample]) -> Any:
    """A sum, the values of all gauges, or a distribution, in which an observation counts as the bound of its bucket."""
    if metric.type == "gauge":
        return [sample.value for sample in samples][:MAX_VALUES]
    total = sum(sample.value for sample in samples)
    if metric.type == "counter":
        return total
    counts = [sum(column) for column in zip(*(sample.counts for sample in samples), strict=True)]
    bounds = [*metric.buckets, metric.buckets[-1]]
    seen = [(bound, count) for bound, count in zip(bounds, counts, strict=True) if count]
    return {
        "Values": [bound for bound, _ in seen],
        "Counts": [count for _, count in seen],
        "Min": seen[0][0],
        "Max": seen[-1][0],
        "Count": sum(counts),
        "Sum": total,
    }
