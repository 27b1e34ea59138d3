"""Names of all metrics, typed: the one place that declares them. docs/metrics.md lists the same, a test compares.

A metric is written as one log record per worker and minute (`metrics name{label="value"}=number ...`), so that any log
pipeline can take it; nothing listens on a port.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

MetricType = Literal["counter", "gauge"]
"""counter: only grows while the process lives; gauge: a value as of now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; every sample carries a value for each of `labels`. The unit is the end of the name."""

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()

    def sample(self, value: float, **labels: str) -> str:
        """`name{label="value"}=number`. Raises ValueError unless exactly the declared labels are given."""
        if set(labels) != set(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {tuple(labels)}")
        shown = ",".join(f'{name}="{labels[name]}"' for name in self.labels)
        return f"{self.name}{{{shown}}}={value:g}" if shown else f"{self.name}={value:g}"


CHUNKS: Final = Metric(
    name="muster_worker_chunks_total",
    type="counter",
    help="Chunks taken from the import topics; result: kept, skipped (seen before, or no longer wanted), buried (dead "
    "letter).",
    labels=("result",),
)
ROWS: Final = Metric(name="muster_worker_rows_total", type="counter", help="Rows of the chunks that were kept.")
RUNS: Final = Metric(name="muster_worker_runs_total", type="counter", help="Runs written to staging.")
RUN_BYTES: Final = Metric(name="muster_worker_run_bytes_total", type="counter", help="Bytes of rows in those runs.")
PARTITIONS: Final = Metric(
    name="muster_worker_partitions_total",
    type="counter",
    help="Partitions of imports that were announced; result: materialised, failed.",
    labels=("result",),
)
BUFFERED_BYTES: Final = Metric(
    name="muster_worker_buffered_bytes", type="gauge", help="Bytes of rows in memory that are not staged yet."
)
GROUPS: Final = Metric(
    name="muster_worker_groups", type="gauge", help="Partitions of import attempts whose state is in memory."
)
MERGES_WAITING: Final = Metric(
    name="muster_worker_merges_waiting", type="gauge", help="Merges that are queued and not begun."
)

METRICS: Final[Mapping[str, Metric]] = {
    metric.name: metric
    for metric in (CHUNKS, ROWS, RUNS, RUN_BYTES, PARTITIONS, BUFFERED_BYTES, GROUPS, MERGES_WAITING)
}
