"""Order of calls in the pool of functions: no tenant gets all of it, and the one with the fewest calls goes first."""

import itertools
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from schemas.job_kinds import REQUEST_KINDS

REMEMBERED: Final = 10_000
"""Executions whose tenant is remembered: more than run at once."""


class TenantSlots:
    """Runs `slots` calls at once, at most `per_tenant` of them for one tenant. Threads wait in `slot`."""

    def __init__(self, *, slots: int, per_tenant: int) -> None:
        self._free = slots
        self._per_tenant = per_tenant
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._waiting: dict[int, tuple[str, threading.Event]] = {}
        self._tickets = itertools.count()

    @contextmanager
    def slot(self, tenant: str) -> Iterator[None]:
        """Wait for a slot, and hold it during the block."""
        started = threading.Event()
        with self._lock:
            self._waiting[next(self._tickets)] = tenant, started
            self._start_waiting()
        started.wait()
        try:
            yield
        finally:
            with self._lock:
                self._free += 1
                self._running[tenant] -= 1
                self._start_waiting()

    def _start_waiting(self) -> None:
        while self._free:
            calls = ((self._running[tenant], ticket) for ticket, (tenant, _) in self._waiting.items())
            first = min((call for call in calls if call[0] < self._per_tenant), default=None)
            if first is None:
                return
            tenant, started = self._waiting.pop(first[1])
            self._free -= 1
            self._running[tenant] += 1
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
