"""Order of calls in the pool of functions: no tenant gets all of it, and the one with the fewest calls goes first.

A pool that throttles has no order: it refuses what finds no slot, as Lambda does.
"""

import itertools
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from orchestration.workflow.resources import share_of
from schemas.job_kinds import REQUEST_KINDS

REMEMBERED: Final = 10_000
"""Executions whose tenant is remembered: more than run at once."""


class ThrottledError(Exception):
    """There is no slot for a call now."""


class TenantSlots:
    """Runs `slots` calls at once, at most `per_tenant` of them for one tenant. Threads wait in `slot`.

    `shares`: the largest part of the slots that calls of a function may take, of those that have one.
    """

    def __init__(self, *, slots: int, per_tenant: int, shares: Mapping[str, float] | None = None) -> None:
        self._free = slots
        self._per_tenant = per_tenant
        self._limits = {name: share_of(slots, share) for name, share in (shares or {}).items()}
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._running_of: Counter[str] = Counter()
        self._waiting: dict[int, tuple[str, str, threading.Event]] = {}
        self._tickets = itertools.count()

    @contextmanager
    def slot(self, tenant: str, function: str = "") -> Iterator[None]:
        """Wait for a slot, and hold it during the block."""
        started = threading.Event()
        with self._lock:
            self._waiting[next(self._tickets)] = tenant, function, started
            self._start_waiting()
        started.wait()
        try:
            yield
        finally:
            self._end(tenant, function)

    @contextmanager
    def slot_at_once(self, function: str) -> Iterator[None]:
        """Hold a slot during the block, whoever the tenant is. Raises `ThrottledError`."""
        with self._lock:
            if not self._free or self._is_full(function):
                raise ThrottledError
            self._begin("", function)
        try:
            yield
        finally:
            self._end("", function)

    def _is_full(self, function: str) -> bool:
        limit = self._limits.get(function)
        return limit is not None and self._running_of[function] >= limit

    def _begin(self, tenant: str, function: str) -> None:
        self._free -= 1
        self._running[tenant] += 1
        self._running_of[function] += 1

    def _end(self, tenant: str, function: str) -> None:
        with self._lock:
            self._free += 1
            self._running[tenant] -= 1
            self._running_of[function] -= 1
            self._start_waiting()

    def _start_waiting(self) -> None:
        while self._free:
            calls = (
                (self._running[tenant], ticket)
                for ticket, (tenant, function, _) in self._waiting.items()
                if not self._is_full(function)
            )
            first = min((call for call in calls if call[0] < self._per_tenant), default=None)
            if first is None:
                return
            tenant, function, started = self._waiting.pop(first[1])
            self._begin(tenant, function)
            started.set()


class Tenants:
    """Tenants of invocations. Only the first step of a workflow gets the request; later ones name the execution."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def lookup(self, event: Any) -> str:
        """The tenant; for an execution that began before this engine did, the execution's own name."""
        if not isinstance(event, Mapping):
            return ""
        names = [str(event[key]) for key in ("execution", "job_id", "export_id") if event.get(key)]
        with self._lock:
            tenant = _requested_tenant(event.get("input")) or next(
                (self._known[n] for n in names if n in self._known), None
            )
            if tenant is None:
                return names[0] if names else ""
            for name in names:
                self._known[name] = tenant
                self._known.move_to_end(name)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return tenant


def _requested_tenant(request: Any) -> str | None:
    """The tenant in the input of a workflow: a request of ours, or the event of an upload to `<tenant>/<audience>/`."""
    if not isinstance(request, Mapping):
        return None
    for kind in REQUEST_KINDS:
        if isinstance(body := request.get(kind), Mapping) and isinstance(body.get("tenant"), str):
            return str(body["tenant"])
    match request:
        case {"detail": {"object": {"key": str(key)}}}:
            return key.partition("/")[0]
    return None
