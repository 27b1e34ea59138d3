"""The control plane's log line once a minute, from which metrics can be made."""

import json
import logging

import pytest

from orchestration.control.summary import log_summary, summary
from orchestration.platform.logs import JsonFormatter
from schemas.metrics import DEAD, JOBS, LAG, SUMMARY_FIELD, UNAVAILABLE, Sample

SAMPLES = [
    Sample(metric=LAG, value=7, labels=("muster.imports", "0")),
    Sample(metric=LAG, value=90, labels=("muster.imports", "1")),
    Sample(metric=DEAD, value=2),
    Sample(metric=UNAVAILABLE, value=1, labels=("catalog",)),
    Sample(metric=UNAVAILABLE, value=1, labels=("kafka",)),
    Sample(metric=JOBS, value=3, labels=("READY",)),
]


def test_worst_partition_counts_and_other_numbers_are_summed() -> None:
    assert summary(SAMPLES) == {
        "muster_consumer_lag": 90,
        "muster_dead_letters": 2,
        "muster_unavailable": 2,
        "muster_jobs": 3,
    }


def test_the_line_is_json_with_the_numbers_below_metrics(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="orchestration.control.summary"):
        log_summary(SAMPLES)
    line = json.loads(JsonFormatter().format(caplog.records[0]))
    assert line[SUMMARY_FIELD]["muster_consumer_lag"] == 90
    assert line["message"] == "metrics"
