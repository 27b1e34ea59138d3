"""Ids of the current work, bound to the running task or thread, so that each of its log lines carries them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

_bound: Final[ContextVar[Mapping[str, object]]] = ContextVar("log_ids", default=MappingProxyType({}))


def current() -> Mapping[str, object]:
    """The bound ids: job, attempt, partition, tenant, audience, as far as known."""
    return _bound.get()


def bind(**ids: object) -> None:
    """Add ids to the bound ones, until the enclosing `bound` or the task or thread ends."""
    _bound.set({**_bound.get(), **ids})


@contextmanager
def bound(**ids: object) -> Iterator[None]:
    """Bind these ids, and only these, within the context."""
    token = _bound.set(ids)
    try:
        yield
    finally:
        _bound.reset(token)
