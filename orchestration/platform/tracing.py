"""Spans of this process, exported with OpenTelemetry (OTLP over HTTP) if an endpoint is set.

The endpoint is the setting `otlp_endpoint`, or `OTEL_EXPORTER_OTLP_ENDPOINT`, as OpenTelemetry knows it; its other
variables (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES`, ...) hold as well. Without
an endpoint, nothing of OpenTelemetry is imported.

Spans are made by `schemas.tracing`, since their ids follow from jobs, and only exported here. A collector that does not
answer costs spans, and never work: they wait in a bounded queue, and a function gives up after `FLUSH_S`.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from muster import __version__
from orchestration.platform.settings import ENV_PREFIX, OTLP_ENDPOINT
from schemas.tracing import Span, TraceContext, record_with

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

MODULES: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk.resources",
    "opentelemetry.sdk.trace",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.sdk.util.instrumentation",
)
FLUSH_S: Final = 2.0
"""For a request to the collector. Functions wait for it at the end of each call: between calls they are frozen."""
SERVER: Final = "http.request.method"
"""An attribute that only spans of requests have."""
_processors: "Final[list[SpanProcessor]]" = []


def endpoint_in(variables: Mapping[str, str]) -> str:
    """The endpoint in variables of a process. Empty without one."""
    return variables.get(f"{ENV_PREFIX}OTLP_ENDPOINT") or variables.get(OTLP_ENDPOINT, "")


def tracing_modules(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Modules that `start_tracing` imports in a process with these variables, in 0.4 s of processor time."""
    return MODULES if endpoint_in(variables) else ()


def start_tracing(endpoint: str, part: str) -> None:
    """Export the spans of this process from now on, as the service `muster-<part>`. Without an endpoint, do nothing."""
    if not endpoint or _processors:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # none of them is loaded without an endpoint
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource.create({"service.name": f"muster-{part}", "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=FLUSH_S)
    _processors.append(BatchSpanProcessor(exporter))
    record_with(OtelRecorder(provider, _processors[0]))


def flush_spans() -> None:
    """Wait until all spans are exported, or given up."""
    for processor in _processors:
        processor.force_flush(int(FLUSH_S * 1000))


@contextmanager
def flushing() -> Iterator[None]:
    """Export at the end what was recorded within: a function is frozen between two calls."""
    try:
        yield
    finally:
        flush_spans()


class OtelRecorder:
    """Hands spans to OpenTelemetry's exporter."""

    def __init__(self, provider: "TracerProvider", processor: "SpanProcessor") -> None:
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

        self._provider = provider
        self._processor = processor
        self._scope = InstrumentationScope("muster", __version__)

    def now_ns(self) -> int:
        """As `Recorder`."""
        return time.time_ns()

    def new_span_id(self) -> str:
        """As `Recorder`."""
        return os.urandom(8).hex()

    def samples(self, context: TraceContext) -> bool:
        """As OTEL_TRACES_SAMPLER says."""
        from opentelemetry.sdk.trace.sampling import Decision  # noqa: PLC0415

        found = self._provider.sampler.should_sample(None, int(context.trace_id, 16), "")
        return found.decision is Decision.RECORD_AND_SAMPLE

    def record(self, span: Span) -> None:
        """As `Recorder`."""
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415

        self._processor.on_end(
            ReadableSpan(
                name=span.name,
                context=_otel(span.context),
                parent=_otel(span.parent),
                resource=self._provider.resource,
                attributes=span.attributes,
                kind=SpanKind.SERVER if SERVER in span.attributes else SpanKind.INTERNAL,
                status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
                start_time=span.start_ns,
                end_time=span.end_ns,
                instrumentation_scope=self._scope,
            )
        )


def _otel(context: TraceContext | None) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415

    if context is None:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=False, trace_flags=flags)
