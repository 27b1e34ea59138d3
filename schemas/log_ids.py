"""Ids of what is being worked on, bound to the running task or thread, so that every log line of it carries them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

_bound: Final[ContextVar[Mapping[str, object]]] = ContextVar("log_ids", default=MappingProxyType({}))


def current() -> Mapping[str, object]:
    """What is bound here: job, attempt, partition, tenant, audience, as far as they are known."""
    return _bound.get()


def bind(**ids: object) -> None:
    """Add to what is bound, until the enclosing `bound` ends, or the task or thread does."""
    _bound.set({**_bound.get(), **ids})


@contextmanager
def bound(**ids: object) -> Iterator[None]:
    """Bind these ids and nothing else for a while."""
    token = _bound.set(ids)
    try:
        yield
    finally:
        _bound.reset(token)
