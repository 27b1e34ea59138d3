"""Ids of the current work, bound to the running task or thread, so that each of its log lines carries them.

They travel with the work: into the input of an execution (`caller`), and into the headers of Kafka records (`headers`),
as W3C Trace Context and Baggage. What comes from outside is checked, and left out if it is of another form.
https://www.w3.org/TR/baggage/
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from schemas import tracing
from schemas.ids import JOB_ID_PATTERN
from schemas.tracing import TRACEPARENT, TraceContext, trace_of

BAGGAGE: Final = "baggage"
CALLER: Final = "caller"
"""Member of the input of an execution, and of the stored source of its job: which request has started it."""
EXECUTION: Final = re.compile(r"[a-zA-Z0-9_-]{1,80}", re.ASCII)
Headers = tuple[tuple[str, bytes], ...]
_bound: Final[ContextVar[Mapping[str, object]]] = ContextVar("log_ids", default=MappingProxyType({}))


def current() -> Mapping[str, object]:
    """The bound ids: job, attempt, partition, tenant, audience, execution, request_id, as far as known."""
    return _bound.get()


def bind(*, trace: TraceContext | None = None, **ids: object) -> None:
    """Add ids to the bound ones, until the enclosing `bound` or the task or thread ends, and enter the trace."""
    if trace is not None:
        tracing.enter(trace)
    _bound.set({**_bound.get(), **ids})


@contextmanager
def bound(*, trace: TraceContext | None = None, **ids: object) -> Iterator[None]:
    """Bind these ids, and only these, within the context."""
    token = _bound.set(ids)
    try:
        with tracing.within(trace):
            yield
    finally:
        _bound.reset(token)


def execution_name(arn: str | None) -> str | None:
    """The last part of the ARN of an execution, which lines carry."""
    return None if arn is None else arn.rpartition(":")[2]


def caller() -> dict[str, dict[str, str]]:
    """The member `caller` for the input of an execution that the current request starts; empty if there is none."""
    request_id, trace = _bound.get().get("request_id"), tracing.current()
    if not isinstance(request_id, str) or trace is None:
        return {}
    return {CALLER: {"request_id": request_id, TRACEPARENT: str(trace)}}


def caller_in(record: object) -> dict[str, dict[str, str]]:
    """The member `caller` of an input, as far as it has the form that `caller` gives it."""
    given = record.get(CALLER) if isinstance(record, Mapping) else None
    if not isinstance(given, Mapping):
        return {}
    request_id, trace = str(given.get("request_id")), TraceContext.parse(str(given.get(TRACEPARENT)))
    if trace is None or not JOB_ID_PATTERN.fullmatch(request_id):
        return {}
    return {CALLER: {"request_id": request_id, TRACEPARENT: str(trace)}}


def caller_trace(record: Mapping[str, object]) -> TraceContext | None:
    """The span of the request that has started a job, from the record with the member `caller`. None without one."""
    known = caller_in(record).get(CALLER)
    return None if known is None else TraceContext.parse(known[TRACEPARENT])


def without_caller(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as people see it."""
    return {name: value for name, value in record.items() if name != CALLER}


def ids_of_job(job_id: str, execution: str | None, record: Mapping[str, object]) -> dict[str, Any]:
    """Ids and trace of a job that runs in `execution`; `record` has the member `caller`, if a request started it."""
    known = caller_in(record).get(CALLER)
    ids: dict[str, Any] = {"job": job_id, "execution": execution_name(execution)}
    if known is None:
        return {**ids, "trace": trace_of(job_id)}
    return {**ids, "request_id": known["request_id"], "trace": trace_of(job_id, caller_trace(record))}


def headers() -> Headers:
    """Headers of a Kafka record that belongs to the current work."""
    trace, ids = tracing.current(), _bound.get()
    carried = ",".join(f"{name}={ids[name]}" for name in ("execution", "request_id") if ids.get(name) is not None)
    return (
        *(() if trace is None else ((TRACEPARENT, str(trace).encode()),)),
        *(((BAGGAGE, carried.encode()),) if carried else ()),
    )


def captured() -> dict[str, Any]:
    """The bound ids with the trace, to bind them where the work goes on."""
    return {**_bound.get(), "trace": tracing.current()}


def ids_in(given: Iterable[tuple[str, bytes | None]] | None) -> Mapping[str, Any]:
    """Inverse of `headers`: ids and trace for `bind`; an id that is not there is None."""
    return _ids_in(tuple(given or ()))


@lru_cache(maxsize=256)
def _ids_in(given: tuple[tuple[str, bytes | None], ...]) -> Mapping[str, Any]:
    found = {name: (value or b"").decode("ascii", "replace") for name, value in given}
    ids: dict[str, Any] = {"execution": None, "request_id": None}
    if (trace := TraceContext.parse(found.get(TRACEPARENT, ""))) is not None:
        ids["trace"] = trace
    for pair in found.get(BAGGAGE, "").split(","):
        name, _, value = pair.partition("=")
        if (name == "execution" and EXECUTION.fullmatch(value)) or (
            name == "request_id" and JOB_ID_PATTERN.fullmatch(value)
        ):
            ids[name] = value
    return ids
