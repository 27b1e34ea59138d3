"""Contexts of traces: their text, what follows from an id, and what work below another inherits."""

from collections.abc import Iterator

import pytest

from schemas import tracing
from schemas.log_ids import bind, bound, caller, caller_in, headers, ids_in, ids_of_job
from schemas.tracing import Span, TraceContext, enter, record_past, record_with, span, trace_of

JOB, REQUEST = "01jd0000000000000000000001", "01jd0000000000000000000002"
GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Recorded:
    """Keeps spans; every call of the clock is a nanosecond later."""

    def __init__(self, *, sampling: bool = True) -> None:
        self.spans: list[Span] = []
        self._ns = 0
        self._ids = 0
        self._sampling = sampling

    def now_ns(self) -> int:
        self._ns += 1
        return self._ns

    def new_span_id(self) -> str:
        self._ids += 1
        return f"{self._ids:016x}"

    def samples(self, context: TraceContext) -> bool:
        assert context.sampled
        return self._sampling

    def record(self, span: Span) -> None:
        self.spans.append(span)


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    found = Recorded()
    record_with(found)
    with bound():
        yield found
    record_with(None)


def test_traceparent_is_read_and_written() -> None:
    context = TraceContext.parse(GIVEN)
    assert context == TraceContext(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7")
    assert str(context) == GIVEN
    unsampled = TraceContext.parse(GIVEN[:-1] + "0")
    assert unsampled is not None
    assert not unsampled.sampled
    assert str(unsampled) == GIVEN[:-1] + "0"


def test_later_versions_may_append_fields() -> None:
    assert TraceContext.parse("cc" + GIVEN[2:] + "-what-follows") == TraceContext.parse(GIVEN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        GIVEN[:-1],
        GIVEN.upper(),
        GIVEN + "-more",
        "ff" + GIVEN[2:],
        GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        GIVEN.replace("00f067aa0ba902b7", "0" * 16),
        GIVEN + "\n",
        "cc" + GIVEN[2:] + "-" + "x" * 1000,
    ],
)
def test_other_texts_are_no_context(text: str) -> None:
    assert TraceContext.parse(text) is None


def test_a_job_is_always_the_same_span() -> None:
    assert trace_of(JOB) == trace_of(JOB) != trace_of(REQUEST)
    parent = TraceContext.parse(GIVEN[:-1] + "0")
    assert parent is not None
    below = trace_of(JOB, parent)
    assert (below.trace_id, below.span_id, below.sampled) == (parent.trace_id, trace_of(JOB).span_id, False)


def test_the_request_that_starts_a_job_is_kept_with_it() -> None:
    with bound():
        assert caller() == {}
    with bound(request_id=REQUEST, trace=trace_of(REQUEST)):
        sent = {"import": {}, **caller()}
    kept = caller_in(sent)
    ids = ids_of_job(JOB, "arn:aws:states:eu-west-1:1:execution:ImportAudience:run-1", {"bucket": "b", **kept})
    assert ids["request_id"] == REQUEST
    assert ids["execution"] == "run-1"
    assert ids["trace"] == trace_of(JOB, trace_of(REQUEST))
    assert "request_id" not in ids_of_job(JOB, None, {})
    assert ids_of_job(JOB, None, {})["trace"] == trace_of(JOB)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "text",
        {"caller": "text"},
        {"caller": {"request_id": REQUEST}},
        {"caller": {"request_id": "x\ny", "traceparent": GIVEN}},
        {"caller": {"request_id": REQUEST, "traceparent": ["a"]}},
    ],
)
def test_a_caller_of_another_form_is_left_out(given: object) -> None:
    assert caller_in(given) == {}


def test_ids_travel_in_headers() -> None:
    with bound(execution="run-1", request_id=REQUEST, job=JOB, trace=trace_of(JOB)):
        sent = headers()
    assert dict(sent) == {
        "traceparent": str(trace_of(JOB)).encode(),
        "baggage": f"execution=run-1,request_id={REQUEST}".encode(),
    }
    assert ids_in(sent) == {"execution": "run-1", "request_id": REQUEST, "trace": trace_of(JOB)}
    with bound():
        assert headers() == ()


@pytest.mark.parametrize(
    "given",
    [
        None,
        (),
        [("traceparent", None), ("baggage", b"execution=a b,request_id=1")],
        [("traceparent", b"\xff"), ("baggage", b"=,,execution")],
    ],
)
def test_headers_of_other_programs_are_left_out(given: list[tuple[str, bytes | None]] | None) -> None:
    assert ids_in(given) == {"execution": None, "request_id": None}


def test_work_without_a_recorder_has_a_context_and_no_span() -> None:
    with bound(), span("work", own=trace_of(REQUEST)):
        assert tracing.current() == trace_of(REQUEST)
        with span("more"):
            assert tracing.current() == trace_of(REQUEST)
        bind(trace=trace_of(JOB))
        assert tracing.current() == trace_of(JOB)
        with bound():
            assert tracing.current() is None


def test_spans_are_nested(recorded: Recorded) -> None:
    with span("request", own=trace_of(REQUEST)), span("call", {"rows": 3}):
        tracing.note({"more": True})
    call, request = recorded.spans
    assert (call.name, call.parent, call.attributes) == ("call", request.context, {"rows": 3, "more": True})
    assert (request.context, request.parent) == (trace_of(REQUEST), None)
    assert request.start_ns < call.start_ns < call.end_ns < request.end_ns
    assert tracing.current() is None


def test_a_span_joins_the_trace_of_its_job_as_soon_as_that_is_known(recorded: Recorded) -> None:
    with span("function"):
        bind(trace=trace_of(JOB))
        with span("inside"):
            enter(trace_of(JOB))  # known already: the work stays below its span
    inside, function = recorded.spans
    assert function.parent == trace_of(JOB)
    assert inside.parent == function.context


def test_a_span_of_no_trace_is_not_recorded(recorded: Recorded) -> None:
    with span("nothing"):
        pass
    assert recorded.spans == []


def test_an_error_is_noted_by_its_class(recorded: Recorded) -> None:
    with pytest.raises(ValueError, match="secret"), span("work", own=trace_of(JOB)):
        raise ValueError("a secret")
    assert recorded.spans[0].error == "ValueError"


def test_what_a_parent_does_not_record_is_not_recorded_below_it(recorded: Recorded) -> None:
    parent = TraceContext.parse(GIVEN[:-1] + "0")
    with span("work", own=trace_of(JOB, parent), parent=parent), span("more"):
        assert str(tracing.current()).endswith("-00")
    record_past(Span(name="past", start_ns=1, end_ns=2, parent=parent))
    assert recorded.spans == []


def test_the_recorder_decides_about_traces_that_begin_here() -> None:
    recorded = Recorded(sampling=False)
    record_with(recorded)
    try:
        with span("request", own=trace_of(REQUEST)):
            assert tracing.current() is not None
        with span("called", own=trace_of(REQUEST, trace_of(JOB)), parent=trace_of(JOB)):
            pass
    finally:
        record_with(None)
    assert [one.name for one in recorded.spans] == ["called"]
