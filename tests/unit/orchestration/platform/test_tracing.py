"""Spans on their way to a collector, and none of OpenTelemetry without one."""

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

from orchestration.platform import tracing as platform
from orchestration.platform.settings import Settings
from schemas.log_ids import bound
from schemas.tracing import TraceContext, record_with, span, trace_of

JOB = "01jd0000000000000000000001"


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ExportTraceServiceRequest]]:
    """Requests that a collector has got from this process."""
    found: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                found.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its base class' name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(platform, "_processors", [])
    platform.start_tracing(f"http://127.0.0.1:{server.server_address[1]}/", "worker")
    try:
        with bound():
            yield found
    finally:
        record_with(None)
        for processor in platform._processors:
            processor.shutdown()
        server.shutdown()
        server.server_close()


def sent(requests: list[ExportTraceServiceRequest]) -> dict[str, Sent]:
    return {
        one.name: one
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for one in scope.spans
    }


def test_spans_reach_the_collector_with_their_ids(collected: list[ExportTraceServiceRequest]) -> None:
    own = trace_of(JOB)
    with (
        platform.flushing(),
        pytest.raises(KeyError),
        span("GET", {"http.request.method": "GET"}, own=own),
        span("inside", {"rows": 3}),
    ):
        raise KeyError("a secret")
    (resource,) = [one.resource for request in collected for one in request.resource_spans]
    assert {one.key: one.value.string_value for one in resource.attributes}["service.name"] == "muster-worker"
    spans = sent(collected)
    outer, inner = spans["GET"], spans["inside"]
    assert (outer.trace_id.hex(), outer.span_id.hex(), outer.parent_span_id) == (own.trace_id, own.span_id, b"")
    assert (inner.trace_id, inner.parent_span_id) == (outer.trace_id, outer.span_id)
    assert (outer.kind, inner.kind) == (Sent.SPAN_KIND_SERVER, Sent.SPAN_KIND_INTERNAL)
    assert inner.attributes[0].value.int_value == 3
    assert (inner.status.code, inner.status.message) == (2, "KeyError")
    assert outer.start_time_unix_nano <= inner.start_time_unix_nano <= inner.end_time_unix_nano
    assert "secret" not in str(collected)


def test_sampler_of_opentelemetry_decides_about_requests_alone(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    collected = request.getfixturevalue("collected")
    with platform.flushing(), span("of a request", own=trace_of(JOB)), span("inside"):
        pass
    with platform.flushing(), span("of a job", parent=trace_of(JOB)):
        pass
    assert sent(collected).keys() == {"of a job"}


def test_silent_collector_costs_spans_and_no_work(
    collected: list[ExportTraceServiceRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "_processors", [])
    platform.start_tracing("http://127.0.0.1:1", "worker")
    with platform.flushing(), span("lost", parent=TraceContext.parse(f"00-{'a' * 32}-{'b' * 16}-01")):
        pass
    platform._processors[0].shutdown()
    assert collected == []


@pytest.mark.parametrize(
    ("env", "endpoint"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318"}, "http://a:4318"),
        ({"MUSTER_OTLP_ENDPOINT": "http://b:4318", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318"}, "http://b:4318"),
    ],
)
def test_endpoint_is_the_setting_or_opentelemetrys_variable(env: dict[str, str], endpoint: str) -> None:
    assert platform.endpoint_in(env) == endpoint
    assert Settings.load({"MUSTER_HOME": "/nowhere", **env}).otlp_endpoint == endpoint


PROGRAM = """
import orchestration.entrypoints.worker, orchestration.entrypoints.segment_worker
import orchestration.entrypoints.control_plane, orchestration.entrypoints.tasks
from orchestration.entrypoints import handlers
from orchestration.platform.tracing import start_tracing
start_tracing("", "worker")
assert handlers.errors_by_name(lambda event, context: {"at": "work"})({"job_id": "j"}, None) == {"at": "work"}
import sys; print([name for name in sys.modules if name.partition(".")[0] == "opentelemetry"])
"""


def test_functions_and_workers_load_nothing_of_opentelemetry_without_an_endpoint() -> None:
    env = {"PATH": "", "MUSTER_HOME": "/nowhere", "PYTHONPATH": ":".join(sys.path)}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, env=env, timeout=240
    )
    assert found.stdout.strip().splitlines()[-1:] == ["[]"], found.stderr


FORKED = """
import importlib, os, sys
from orchestration.platform.tracing import start_tracing, tracing_modules
for name in tracing_modules({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}):
    importlib.import_module(name)
threads, before = len(os.listdir("/proc/self/task")), set(sys.modules)
start_tracing("http://127.0.0.1:9", "function")
print(threads, [name for name in set(sys.modules) - before if name.partition(".")[0] == "opentelemetry"], flush=True)
os._exit(0)
"""


def test_process_that_functions_are_forked_from_has_loaded_all_that_tracing_needs() -> None:
    found = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=False, timeout=240)
    assert found.stdout == "1 []\n", found.stderr
    assert platform.tracing_modules({}) == ()
