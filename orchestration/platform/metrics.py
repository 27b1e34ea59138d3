"""Serves the metrics of a process to Prometheus: `GET /metrics`, on loopback by default.

The control plane listens on `metrics_port`, worker N on that plus N, segment worker N on that plus 50 + N, the service
on that plus 99; if the port is taken, on any other. The actual address of a process is in `<home>/metrics/<part>`. Any
host but loopback requires a token.
"""

import hmac
import ipaddress
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from orchestration.platform.embedded_metrics import write_metrics
from orchestration.platform.settings import Secret, Settings
from schemas.errors import UserError
from schemas.metrics import METRICS, Metric, Sample, cloudwatch_namespace

PATH: Final = "/metrics"
TIMEOUT_S: Final = 10.0
Read = Callable[[], Iterable[Sample]]
_log = logging.getLogger(__name__)


class Exporter(Collector):
    """The samples of a process, by metric, in the order of the list of metrics."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def collect(self) -> Iterator[Family]:
        """Yield every metric that currently has a sample."""
        samples = list(self._read())
        for metric in METRICS.values():
            matching = [sample for sample in samples if sample.metric is metric]
            if not matching:
                continue
            if metric.type == "histogram":
                yield _histogram(metric, matching)
                continue
            kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for sample in matching:
                family.add_metric(sample.labels, sample.value)
            yield family


def _histogram(metric: Metric, samples: Iterable[Sample]) -> HistogramMetricFamily:
    """Prometheus counts each observation in every bucket whose bound it does not exceed."""
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for sample in samples:
        bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
        family.add_metric(sample.labels, list(zip(bounds, accumulate(sample.counts), strict=True)), sample.value)
    return family


def serve_metrics(settings: Settings, part: str, port: int, read: Read) -> ThreadingHTTPServer:
    """Start to serve, in a thread; at AWS, also write them to the log. Raises `UserError` METRICS_NEED_A_TOKEN.

    A taken port never keeps a process from its work: it uses another one, and logs that.
    """
    host, token = settings.metrics_host, settings.metrics_token
    if not token and not _is_loopback(host):
        raise UserError(
            "METRICS_NEED_A_TOKEN", f"metrics_host is {host}, which is not loopback: set metrics_token as well"
        )
    registry = CollectorRegistry()
    registry.register(Exporter(read))
    handler = _handler(registry, token)
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except (OSError, OverflowError) as exc:
        _log.warning("metrics are served on a port other than %d: %s", port, exc)
        server = ThreadingHTTPServer((host, 0), handler)
    server.daemon_threads = True
    address = settings.home / "metrics" / part
    address.parent.mkdir(parents=True, exist_ok=True)
    address.write_text(f"{host}:{server.server_address[1]}\n", encoding="utf-8")
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    if not settings.engine_url:  # at AWS
        write_metrics(cloudwatch_namespace(settings.deployment), read)
    return server


def forget_metrics(settings: Settings, part: str) -> None:
    """Remove the address of a part that ends in order."""
    (settings.home / "metrics" / part).unlink(missing_ok=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _handler(registry: CollectorRegistry, token: Secret) -> type[BaseHTTPRequestHandler]:
    expected = f"Bearer {token.reveal()}".encode()

    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S

        def do_GET(self) -> None:  # its base class' name
            """One scrape."""
            if token and not hmac.compare_digest(self.headers.get("Authorization", "").encode(), expected):
                self._answer(401, b"a token is required\n", "text/plain")
            elif self.path.partition("?")[0] != PATH:
                self._answer(404, b"only /metrics is served\n", "text/plain")
            else:
                self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its base class' name
            """Suppress the log line per scrape, which is of no use."""

    return Handler
