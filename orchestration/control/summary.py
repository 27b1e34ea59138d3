"""The metrics of the control plane as one log record per minute: `{"metrics": {name: number, ...}}`.

Where nothing scrapes, a log collector turns it into metrics and alarms, as CloudWatch does (docs/deploy.md). Samples
with labels become one number: the worst partition or audience, or the sum over all parts; see `LARGEST`. Histograms are
left out.
"""

import logging
from collections.abc import Iterable
from typing import Final

from schemas.metrics import AUDIENCE_AGE, LAG, SUMMARY_FIELD, Sample

LARGEST: Final = frozenset({AUDIENCE_AGE.name, LAG.name})
"""Metrics reported as their largest sample; all others are summed."""
_log = logging.getLogger(__name__)


def summary(samples: Iterable[Sample]) -> dict[str, float]:
    """Metric -> one number."""
    found: dict[str, float] = {}
    for sample in samples:
        if sample.metric.type == "histogram":
            continue
        name = sample.metric.name
        before = found.get(name, 0.0)
        found[name] = max(before, sample.value) if name in LARGEST else before + sample.value
    return found


def log_summary(samples: Iterable[Sample]) -> None:
    """Log the summary."""
    _log.info("metrics", extra={SUMMARY_FIELD: summary(samples)})
