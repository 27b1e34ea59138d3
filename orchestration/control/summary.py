"""What the relay serves to Prometheus, summed up once a minute as one log record: `{"metrics": {name: number, ...}}`.

A collector of logs makes metrics and alarms of it where nothing scrapes, as CloudWatch does (docs/deploy.md). Samples
with labels are one number here: the worst partition, all parts that cannot be read, ...; see `LARGEST`.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Final

from orchestration.control.rounds import go_round
from schemas.metrics import LAG, SUMMARY_FIELD, Sample

PERIOD_S: Final = 60.0
LARGEST: Final = frozenset({LAG.name})
"""Of these the largest sample counts, of all others the sum of them."""
_log = logging.getLogger(__name__)


def summary(samples: Iterable[Sample]) -> dict[str, float]:
    """Metric -> one number."""
    found: dict[str, float] = {}
    for sample in samples:
        name = sample.metric.name
        before = found.get(name, 0.0)
        found[name] = max(before, sample.value) if name in LARGEST else before + sample.value
    return found


def tell_every_minute(read: Callable[[], Iterable[Sample]], stop: threading.Event) -> None:
    """Log the summary until `stop` is set, in a thread of its own."""

    def tell() -> None:
        _log.info("metrics", extra={SUMMARY_FIELD: summary(read())})

    go_round(tell, name="summary", every_s=PERIOD_S, stop=stop, at_once=True)
