"""What Prometheus alerts on, and Grafana's dashboard, both made of the list of metrics: `make monitoring`.

docs/operations.md says what each alert means and what to do; its table is the text of the rules. A test fails if a file
is older than what it is made of.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas import metrics as m
from schemas.metrics import Metric

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "docs" / "monitoring" / "alerts.yml"
DASHBOARD: Final = ROOT / "docs" / "monitoring" / "dashboard.json"
OPERATIONS: Final = ROOT / "docs" / "operations.md"
IMPORTS: Final = 'topic!="muster.archive"'
EQUAL, ACTIVE, FAULTS = 'result="equal"', 'state="active"', 'status=~"5.."'
WIDTH, HEIGHT, COLUMNS = 8, 7, 3
"""Of a panel; Grafana's grid has 24 columns."""
QUANTILES: Final = (0.5, 0.95, 0.99)
WINDOW: Final = "$__rate_interval"
SOURCE: Final = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert: it fires if `expr` has been true for `minutes`. `page`: it keeps jobs from ending."""

    name: str
    expr: str
    minutes: int = 0
    page: bool = False


def _is(metric: Metric, labels: str = "") -> str:
    return f"{metric.name}{{{labels}}}" if labels else metric.name


def _grows(metric: Metric, labels: str = "", window: str = "15m") -> str:
    change = "increase" if metric.type == "counter" else "delta"
    return f"{change}({_is(metric, labels)}[{window}]) > 0"


def _stuck(labels: str) -> str:
    """Messages that wait, and are not fewer than five minutes ago."""
    waiting = f"sum({_is(m.LAG, labels)})"
    return f"{waiting} > 0 and {waiting} >= sum({_is(m.LAG, labels)} offset 5m)"


def _quantile(quantile: float, metric: Metric, labels: str = "", window: str = WINDOW, by: Sequence[str] = ()) -> str:
    series = _is(metric, labels).replace(metric.name, f"{metric.name}_bucket", 1)
    return f"histogram_quantile({quantile:g}, sum by ({', '.join(['le', *by])}) (rate({series}[{window}])))"


_LAST: Final = (
    f"last_over_time({m.OLDEST_JOB.name}[1h]) > 0",
    f"last_over_time({_is(m.SEGMENTS, ACTIVE)}[1h]) > 0",
)
"""What the control plane reported last, if it had work."""
_WANTED: Final = " or ".join([m.GROUPS.name, m.EVALUATED_TO.name, *_LAST])
"""True while a control plane should run: workers do, or the last one had work. Otherwise it may have left."""
ALERTS: Final = (
    Alert(
        name="MusterControlPlaneDown", expr=f"absent({m.UNAVAILABLE.name}) and on() ({_WANTED})", minutes=5, page=True
    ),
    Alert(name="MusterCatalogUnavailable", expr=_is(m.UNAVAILABLE, 'part="catalog"') + " == 1", minutes=2, page=True),
    Alert(name="MusterKafkaUnavailable", expr=_is(m.UNAVAILABLE, 'part="kafka"') + " == 1", minutes=2, page=True),
    Alert(
        name="MusterNoWorker",
        expr=f"{m.WORKERS.name} == 0 and on() sum({_is(m.LAG, IMPORTS)}) > 0",
        minutes=5,
        page=True,
    ),
    Alert(name="MusterWorkersStuck", expr=_stuck(IMPORTS), minutes=10, page=True),
    Alert(name="MusterJobEventsStalled", expr=f"{m.JOB_EVENTS_STALLED.name} > 900"),
    Alert(name="MusterArchiveStuck", expr=_stuck('topic="muster.archive"'), minutes=5, page=True),
    Alert(name="MusterArchiveFilesUnusable", expr=_grows(m.ARCHIVE_RANGES, 'result="unusable"')),
    Alert(name="MusterSegmentsOutOfDate", expr=f"{m.SEGMENT_AGE.name} > 120", minutes=5),
    Alert(name="MusterSegmentRecoverySlow", expr=f"{m.RECOVERY.name} > 600", minutes=5),
    Alert(name="MusterSegmentsOtherLog", expr=f"{m.FOREIGN_LOG.name} > 0", page=True),
    Alert(name="MusterActivationsWaiting", expr=f"{m.ACTIVATIONS_WAITING.name} > 0", minutes=5),
    Alert(name="MusterSegmentMismatch", expr=f"{m.SEGMENT_MISMATCHES.name} > 0"),
    Alert(
        name="MusterSegmentsUnchecked",
        expr=f"(sum(increase({_is(m.SEGMENT_CHECKS, EQUAL)}[15m])) or vector(0)) == 0 "
        f"and on() sum({_is(m.SEGMENTS, ACTIVE)}) > 0",
        minutes=120,
    ),
    Alert(name="MusterMergesWaiting", expr=f"{m.MERGES_WAITING.name} > 100", minutes=30),
    Alert(name="MusterJobStuck", expr=f"{m.OLDEST_JOB.name} > 21600", page=True),
    Alert(name="MusterScheduleOverdue", expr=f"{m.SCHEDULE_OVERDUE.name} > 900", minutes=5, page=True),
    Alert(name="MusterAudienceNotUpdated", expr=f"{m.AUDIENCE_AGE.name} > 86400"),
    Alert(name="MusterFeedStalled", expr=f"{m.FEED_STALLED.name} > 900", minutes=5),
    Alert(
        name="MusterSmallFilesSlow",
        expr=_quantile(0.95, m.READY_SECONDS, 'size="small"', "30m") + " > 600",
        minutes=15,
    ),
    Alert(name="MusterExportsFailed", expr=_grows(m.EXPORTS, 'state="FAILED"')),
    Alert(name="MusterJobsFailed", expr=_grows(m.JOBS, 'state="FAILED"')),
    Alert(name="MusterDeadLetters", expr=_grows(m.DEAD)),
    Alert(name="MusterEventsMoved", expr=_grows(m.ACTIVITY, 'result="moved"')),
    Alert(name="MusterNotificationsFailing", expr=_is(m.NOTIFICATIONS, 'state="failing"') + " > 0", minutes=30),
    Alert(name="MusterNotificationsGivenUp", expr=_is(m.NOTIFICATIONS, 'state="given up"') + " > 0"),
    Alert(name="MusterPublishingSlow", expr=f"{m.PUBLISH_SECONDS.name} > 60"),
    Alert(
        name="MusterServiceErrors",
        expr=f"sum(rate({_is(m.API_REQUESTS, FAULTS)}[5m])) > 0.05 * sum(rate({m.API_REQUESTS.name}[5m]))",
        minutes=5,
        page=True,
    ),
    Alert(name="MusterServiceSlow", expr=f"{_quantile(0.99, m.API_REQUEST_SECONDS, window='5m')} > 10", minutes=15),
)
DASHBOARD_ROWS: Final[Mapping[str, Sequence[Metric]]] = {
    "Jobs and the control plane": m.RELAY_METRICS,
    "Import workers": m.WORKER_METRICS,
    "Segment workers": m.SEGMENT_METRICS,
    "The service": m.API_METRICS,
}


def rows_of(page: str) -> dict[str, tuple[str, str]]:
    """Alert -> what it means, what to do: the rows of the table of alarms that begin with the name of one."""
    rows = re.findall(r"^\| `(Muster\w+)`: .*? \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    return {name: (_plain(meaning), _plain(remedy)) for name, meaning, remedy in rows}


def rules(page: str) -> str:
    """The file of rules, with the texts of docs/operations.md. Strings are JSON, which YAML reads too."""
    texts = rows_of(page)
    lines = ["# Written by `make monitoring` from orchestration/deploy/monitoring.py and docs/operations.md."]
    lines += ["groups:", "  - name: muster", "    rules:"]
    for alert in ALERTS:
        meaning, remedy = texts[alert.name]
        lines += [
            f"      - alert: {alert.name}",
            f"        expr: {json.dumps(alert.expr)}",
            *([f"        for: {alert.minutes}m"] if alert.minutes else []),
            "        labels:",
            f"          severity: {'page' if alert.page else 'ticket'}",
            "        annotations:",
            f"          summary: {json.dumps(meaning, ensure_ascii=False)}",
            f"          description: {json.dumps(remedy, ensure_ascii=False)}",
        ]
    return "\n".join(lines) + "\n"


def dashboard() -> str:
    """The dashboard, with a panel for each metric."""
    panels: list[dict[str, Any]] = []
    at_y = 0
    for title, row in DASHBOARD_ROWS.items():
        panels.append({"type": "row", "title": title, "collapsed": False, "gridPos": _place(0, at_y, 24, 1)})
        at_y += 1
        for number, metric in enumerate(row):
            x, y = number % COLUMNS * WIDTH, at_y + number // COLUMNS * HEIGHT
            panels.append(_panel(metric, _place(x, y, WIDTH, HEIGHT)))
        at_y += -(-len(row) // COLUMNS) * HEIGHT
    for number, panel in enumerate(panels, start=1):
        panel["id"] = number
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Data source"}
    found = {
        "title": "Muster",
        "uid": "muster",
        "tags": ["muster"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }
    return json.dumps(found, indent=1) + "\n"


def queries(metric: Metric) -> Iterator[tuple[str, str]]:
    """(expression, legend) of a panel: rates of counters, values of gauges, quantiles of histograms."""
    legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels)
    if metric.type == "histogram":
        for quantile in QUANTILES:
            yield _quantile(quantile, metric, by=metric.labels), f"{quantile:.0%} {legend}".strip()
        return
    by = f" by ({', '.join(metric.labels)})" if metric.labels else ""
    inner = f"rate({metric.name}[{WINDOW}])" if metric.type == "counter" else metric.name
    yield (f"sum{by} ({inner})" if metric.type == "counter" else f"max{by} ({inner})"), legend or metric.name


def _panel(metric: Metric, place: Mapping[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + number), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
        for number, (expr, legend) in enumerate(queries(metric))
    ]
    bytes_, counter = "bytes" in metric.name, metric.type == "counter"
    unit = ("Bps" if bytes_ else "cps") if counter else "bytes" if bytes_ else _unit(metric)
    return {
        "type": "timeseries",
        "title": metric.name,
        "description": metric.help,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": targets,
    }


def _unit(metric: Metric) -> str:
    if metric is m.EVALUATED_TO:
        return "none"  # an instant
    return "s" if metric.name.endswith("_seconds") else "short"


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _plain(text: str) -> str:
    """Without links, whose targets mean nothing outside of the page."""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)


def main() -> None:
    """Write both files."""
    RULES.parent.mkdir(exist_ok=True)
    RULES.write_text(rules(OPERATIONS.read_text(encoding="utf-8")), encoding="utf-8")
    DASHBOARD.write_text(dashboard(), encoding="utf-8")


if __name__ == "__main__":
    main()
