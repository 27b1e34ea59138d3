"""What the relay serves to Prometheus, summed up once a minute as one log record: `{"metrics": {name: number, ...}}`.

A collector of logs makes metrics and alarms of it where nothing scrapes, as CloudWatch does (docs/deploy.md). Samples
with labels are one number here: the worst partition, all parts that cannot be read, ...; see `LARGEST`.
"""

import logging
from collections.abc import Iterable
from typing import Final

from schemas.metrics import LAG, SUMMARY_FIELD, Sample

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


def tell(samples: Iterable[Sample]) -> None:
    """Log the summary."""
    _log.info("metrics", extra={SUMMARY_FIELD: summary(samples)})
