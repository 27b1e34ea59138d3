"""Traces: the context of the current work, as W3C Trace Context has it, and spans, where they are recorded.

A job is one trace. Its context follows from its id, so that every process knows it and nothing needs to be stored; only
if a request has started the job, its spans belong to the trace of that request, which is kept with the job.

`orchestration.platform.tracing` records spans with OpenTelemetry if an endpoint is set. Otherwise a span costs a
comparison, and the context is there for the logs alone.
https://www.w3.org/TR/trace-context/
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Protocol, Self

Value = str | int | float | bool
TRACEPARENT: Final = "traceparent"
TRACEPARENT_MAX: Final = 512
"""Later versions may append fields; the four of this one are 55 characters."""
_FORMAT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """A span by its ids, in lower-case hexadecimal: 32 digits for its trace, 16 for itself."""

    trace_id: str
    span_id: str
    sampled: bool = True

    def __str__(self) -> str:
        """The value of the header `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Inverse of `str`, also for later versions. None for anything else, which receivers have to ignore."""
        found = _FORMAT.fullmatch(text) if len(text) <= TRACEPARENT_MAX else None
        if found is None:
            return None
        version, trace_id, span_id, flags, more = found.groups()
        if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
            return None
        return cls(trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & 1))


def trace_of(subject: str, parent: TraceContext | None = None) -> TraceContext:
    """The span of a job or a request, always the same for its id: in a trace of its own, or in that of its parent."""
    digest = sha256(f"trace of {subject}".encode()).hexdigest()
    if parent is None:
        return TraceContext(trace_id=digest[:32], span_id=digest[32:48])
    return TraceContext(trace_id=parent.trace_id, span_id=digest[32:48], sampled=parent.sampled)


@dataclass(slots=True, kw_only=True)
class Span:
    """Some work with a beginning and an end, in nanoseconds since 1970 UTC. Attributes hold no personal data.

    `context` is None until the work is known to belong to a trace. `error`: class or code of what ended it.
    """

    name: str
    start_ns: int
    end_ns: int = 0
    context: TraceContext | None = None
    parent: TraceContext | None = None
    attributes: dict[str, Value] = field(default_factory=dict)
    error: str | None = None


class Recorder(Protocol):
    """Where spans go."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970 UTC."""

    def new_span_id(self) -> str:
        """16 random hexadecimal digits."""

    def samples(self, context: TraceContext) -> bool:
        """Whether a trace that begins here is recorded."""

    def record(self, span: Span) -> None:
        """Take a span that has ended. Does not block."""


_recorder: Recorder | None = None
_current: Final[ContextVar[TraceContext | None]] = ContextVar("trace", default=None)
_open: Final[ContextVar[Span | None]] = ContextVar("span", default=None)


def record_with(recorder: Recorder | None) -> None:
    """Record the spans of this process from now on; None: no longer."""
    global _recorder  # noqa: PLW0603  # one for each process, as loggers are
    _recorder = recorder


def current() -> TraceContext | None:
    """The context of the current work, which its messages and requests carry on."""
    return _current.get()


def enter(context: TraceContext) -> None:
    """Go on as part of a trace. A span that was opened before the trace was known belongs to it from now on."""
    span, known = _open.get(), _current.get()
    if span is not None and span.context is None and _recorder is not None:
        _current.set(_join(span, context, _recorder))
    elif known is None or known.trace_id != context.trace_id:
        _current.set(context)


@contextmanager
def within(context: TraceContext | None) -> Iterator[None]:
    """Be part of this trace, or of none, within the context."""
    token, opened = _current.set(context), _open.set(None)
    try:
        yield
    finally:
        _current.reset(token)
        _open.reset(opened)


@contextmanager
def span(
    name: str,
    attributes: Mapping[str, Value] = MappingProxyType({}),
    *,
    own: TraceContext | None = None,
    parent: TraceContext | None = None,
) -> Iterator[None]:
    """Some work, below `parent`, or else below the current span. An exception is noted by its code, or its class.

    `own`: the context of the work itself, if its ids follow from something else; without a parent, it begins a trace.
    """
    before, opened_before = _current.get(), _open.get()
    parent = before if own is None and parent is None else parent
    if (recorder := _recorder) is None:
        _current.set(own or parent)
        try:
            yield
        finally:
            _current.set(before)
        return
    opened = Span(name=name, start_ns=recorder.now_ns(), parent=parent, attributes=dict(attributes))
    if own is not None:
        opened.context = own if parent or recorder.samples(own) else replace(own, sampled=False)
    elif parent is not None:
        _join(opened, parent, recorder)
    _current.set(opened.context)
    _open.set(opened)
    try:
        yield
    except BaseException as exc:
        opened.error = str(getattr(exc, "code", type(exc).__name__))
        raise
    finally:
        # No tokens: a coroutine may be driven from several contexts.
        _current.set(before)
        _open.set(opened_before)
        opened.end_ns = recorder.now_ns()
        if opened.context is not None and opened.context.sampled:
            recorder.record(opened)


def note(attributes: Mapping[str, Value], *, name: str | None = None) -> None:
    """Add attributes to the open span, and give it a better name, if spans are recorded."""
    if (opened := _open.get()) is not None:
        opened.attributes.update(attributes)
        opened.name = name or opened.name


def now_ns() -> int:
    """Nanoseconds since 1970 UTC; 0 if no spans are recorded."""
    return 0 if _recorder is None else _recorder.now_ns()


def record_past(ended: Span) -> None:
    """Record a span after its end, if spans are recorded. Without a context, it is a new one below its parent."""
    if (recorder := _recorder) is None:
        return
    if ended.context is None and ended.parent is not None:
        _join(ended, ended.parent, recorder)
    if ended.context is not None and ended.context.sampled:
        recorder.record(ended)


def _join(span: Span, parent: TraceContext, recorder: Recorder) -> TraceContext:
    span.parent = parent
    span.context = TraceContext(trace_id=parent.trace_id, span_id=recorder.new_span_id(), sampled=parent.sampled)
    return span.context
