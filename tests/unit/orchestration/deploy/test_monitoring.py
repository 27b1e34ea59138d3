"""Rules of Prometheus and a dashboard of Grafana: made of the list of metrics; each alert fires when it should."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestration.deploy.monitoring import ALERTS, DASHBOARD, OPERATIONS, RULES, dashboard, queries, rows_of, rules
from schemas.metrics import METRICS
from tests.conftest import unavailable

PAGE = OPERATIONS.read_text(encoding="utf-8")
ARCHIVE = 'muster_consumer_lag{topic="muster.archive", partition="0"}'
IMPORTS = 'muster_consumer_lag{topic="muster.imports", partition="0"}'
READY = "muster_job_ready_seconds_bucket"
REQUESTS = "muster_api_request_seconds_bucket"
SECONDS_READY, SECONDS_REQUEST = 'le="600.0"', 'le="10.0"'
HEALTHY = {
    'muster_unavailable{part="catalog"}': "0x300",
    'muster_unavailable{part="kafka"}': "0x300",
    "muster_workers": "1x300",
    IMPORTS: "5 0x300",
    ARCHIVE: "5 0x300",
    "muster_job_events_stalled_seconds": "900x300",
    'muster_archive_ranges_total{topic="muster.events", result="unusable"}': "3x300",
    "muster_segment_status_age_seconds": "120x300",
    'muster_segments_recovery_seconds{partition="0"}': "600x300",
    "muster_segments_other_log": "0x300",
    "muster_segment_activations_waiting": "0x300",
    "muster_segment_mismatches": "0x300",
    'muster_segments{state="active"}': "2x300",
    'muster_segment_checks_total{result="equal"}': "0+1x300",
    "muster_worker_merges_waiting": "100x300",
    "muster_worker_groups": "0x300",
    "muster_schedule_overdue_seconds": "900x300",
    'muster_audience_age_seconds{tenant="acme", audience="vip"}': "86400x300",
    "muster_feed_stalled_seconds": "900x300",
    "muster_oldest_job_age_seconds": "21600x300",
    'muster_exports{state="FAILED"}': "4x300",
    'muster_jobs{state="FAILED"}': "4x300",
    "muster_dead_letters": "4x300",
    'muster_segments_records_total{topic="muster.events", result="moved"}': "4x300",
    'muster_notifications{state="failing"}': "0x300",
    'muster_notifications{state="given up"}': "0x300",
    "muster_publish_seconds": "60x300",
    f'{READY}{{size="small", le="300.0"}}': "0+1x300",
    f'{READY}{{size="small", {SECONDS_READY}}}': "0+1x300",
    f'{READY}{{size="small", le="1800.0"}}': "0+1x300",
    f'{READY}{{size="small", le="+Inf"}}': "0+1x300",
    f'{READY}{{size="large", le="300.0"}}': "0x300",
    f'{READY}{{size="large", le="+Inf"}}': "0+1x300",
    'muster_api_requests_total{operation="get_me", status="200"}': "0+100x300",
    'muster_api_requests_total{operation="get_me", status="503"}': "0+5x300",
    f'{REQUESTS}{{operation="get_me", le="5.0"}}': "0+100x300",
    f'{REQUESTS}{{operation="get_me", {SECONDS_REQUEST}}}': "0+100x300",
    f'{REQUESTS}{{operation="get_me", le="30.0"}}': "0+100x300",
    f'{REQUESTS}{{operation="get_me", le="+Inf"}}': "0+100x300",
}
"""Series at rest, each at its limit: a value for every minute of five hours."""
BROKEN: dict[str, dict[str, str | None]] = {
    "MusterControlPlaneDown": {name: None for name in HEALTHY if name.startswith("muster_unavailable")},
    "MusterCatalogUnavailable": {'muster_unavailable{part="catalog"}': "1x300"},
    "MusterKafkaUnavailable": {'muster_unavailable{part="kafka"}': "1x300"},
    "MusterNoWorker": {"muster_workers": "0x300", IMPORTS: "1000-1x300"},
    "MusterWorkersStuck": {IMPORTS: "7x300"},
    "MusterJobEventsStalled": {"muster_job_events_stalled_seconds": "901x300"},
    "MusterArchiveStuck": {ARCHIVE: "7x300"},
    "MusterArchiveFilesUnusable": {
        'muster_archive_ranges_total{topic="muster.events", result="unusable"}': "0+1x300",
    },
    "MusterSegmentsOutOfDate": {"muster_segment_status_age_seconds": "121x300"},
    "MusterSegmentRecoverySlow": {'muster_segments_recovery_seconds{partition="0"}': "601x300"},
    "MusterSegmentsOtherLog": {"muster_segments_other_log": "1x300"},
    "MusterActivationsWaiting": {"muster_segment_activations_waiting": "1x300"},
    "MusterSegmentMismatch": {"muster_segment_mismatches": "1x300"},
    "MusterSegmentsUnchecked": {'muster_segment_checks_total{result="equal"}': None},
    "MusterMergesWaiting": {"muster_worker_merges_waiting": "101x300"},
    "MusterJobStuck": {"muster_oldest_job_age_seconds": "21601x300"},
    "MusterScheduleOverdue": {"muster_schedule_overdue_seconds": "901x300"},
    "MusterAudienceNotUpdated": {'muster_audience_age_seconds{tenant="acme", audience="vip"}': "86401x300"},
    "MusterFeedStalled": {"muster_feed_stalled_seconds": "901x300"},
    "MusterSmallFilesSlow": {
        f'{READY}{{size="small", le="300.0"}}': "0x300",
        f'{READY}{{size="small", {SECONDS_READY}}}': "0x300",
    },
    "MusterExportsFailed": {'muster_exports{state="FAILED"}': "0+1x300"},
    "MusterJobsFailed": {'muster_jobs{state="FAILED"}': "0+1x300"},
    "MusterDeadLetters": {"muster_dead_letters": "0+1x300"},
    "MusterEventsMoved": {'muster_segments_records_total{topic="muster.events", result="moved"}': "0+1x300"},
    "MusterNotificationsFailing": {'muster_notifications{state="failing"}': "1x300"},
    "MusterNotificationsGivenUp": {'muster_notifications{state="given up"}': "1x300"},
    "MusterPublishingSlow": {"muster_publish_seconds": "61x300"},
    "MusterServiceErrors": {'muster_api_requests_total{operation="get_me", status="503"}': "0+6x300"},
    "MusterServiceSlow": {
        f'{REQUESTS}{{operation="get_me", le="5.0"}}': "0+97x300",
        f'{REQUESTS}{{operation="get_me", {SECONDS_REQUEST}}}': "0+98x300",
    },
}
"""Alert -> the series that differ when it fires; None: it is missing."""

LABELS = {
    "MusterCatalogUnavailable": {"part": "catalog"},
    "MusterKafkaUnavailable": {"part": "kafka"},
    "MusterArchiveFilesUnusable": {"topic": "muster.events", "result": "unusable"},
    "MusterSegmentRecoverySlow": {"partition": "0"},
    "MusterAudienceNotUpdated": {"tenant": "acme", "audience": "vip"},
    "MusterExportsFailed": {"state": "FAILED"},
    "MusterJobsFailed": {"state": "FAILED"},
    "MusterEventsMoved": {"topic": "muster.events", "result": "moved"},
    "MusterNotificationsFailing": {"state": "failing"},
    "MusterNotificationsGivenUp": {"state": "given up"},
}
"""Labels of the series that an alert names, and carries on."""


def test_files_are_those_of_the_metrics_and_of_the_runbook() -> None:
    assert RULES.read_text(encoding="utf-8") == rules(PAGE), "run: make monitoring"
    assert DASHBOARD.read_text(encoding="utf-8") == dashboard(), "run: make monitoring"


def test_every_alert_has_its_row_in_the_runbook_and_a_case() -> None:
    names = [alert.name for alert in ALERTS]
    assert sorted(rows_of(PAGE)) == sorted(names) == sorted(BROKEN)


def test_alerts_and_panels_know_no_other_metrics() -> None:
    def known(expr: str) -> set[str]:
        return {re.sub(r"_bucket$", "", name) for name in re.findall(r"muster_\w+", expr)}

    assert set().union(*(known(alert.expr) for alert in ALERTS)) <= METRICS.keys()
    panels = [one for one in json.loads(dashboard())["panels"] if one["type"] != "row"]
    assert sorted(one["title"] for one in panels) == sorted(METRICS)
    for panel in panels:
        shown = set().union(*(known(target["expr"]) for target in panel["targets"]))
        assert shown == {panel["title"]}


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus' own tool, of Debian's package `prometheus`."""
    if (found := shutil.which("promtool")) is None:
        unavailable("promtool (Debian's package prometheus)")
    return found


@pytest.mark.containers
def test_each_alert_fires_alone_when_its_series_break(promtool: str, tmp_path: Path) -> None:
    page = rows_of(PAGE)
    severity = {alert.name: "page" if alert.page else "ticket" for alert in ALERTS}

    def expected(name: str, broken: str | None) -> list[dict[str, Any]]:
        if name != broken:
            return []
        labels = LABELS.get(name, {})
        meaning, remedy = page[name]
        return [
            {
                "exp_labels": {"severity": severity[name], **labels},
                "exp_annotations": {"summary": meaning, "description": remedy},
            }
        ]

    cases = []
    asleep: dict[str, str | None] = {name: None for name in HEALTHY if not name.startswith("muster_api_")}
    for broken, changes in ((None, {}), (None, asleep), *BROKEN.items()):
        series = {**HEALTHY, **changes}
        cases.append(
            {
                "name": broken or ("asleep" if changes else "at rest"),
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items() if values],
                "alert_rule_test": [
                    {"eval_time": "200m", "alertname": alert.name, "exp_alerts": expected(alert.name, broken)}
                    for alert in ALERTS
                ],
            }
        )
    (tmp_path / "cases.yml").write_text(
        json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}), encoding="utf-8"
    )
    ran = subprocess.run(
        [promtool, "test", "rules", tmp_path / "cases.yml"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.containers
def test_queries_of_the_dashboard_are_valid(promtool: str, tmp_path: Path) -> None:
    exprs = [expr.replace("$__rate_interval", "5m") for metric in METRICS.values() for expr, _ in queries(metric)]
    found = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(exprs)]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": found}]}), encoding="utf-8")
    ran = subprocess.run(
        [promtool, "check", "rules", tmp_path / "panels.yml"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
