"""Sharing the pool of functions among tenants, and the tenant of an invocation."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orchestration.local.engine import tenant_slots
from orchestration.local.engine.tenant_slots import Tenants, TenantSlots, ThrottledError


class Calls:
    """Calls that end on demand; `started` in the order in which they got their slots."""

    def __init__(
        self, tenant_slots: TenantSlots, pool: ThreadPoolExecutor, *, functions: Mapping[str, str] | None = None
    ) -> None:
        self._slots, self._pool, self._functions = tenant_slots, pool, functions or {}
        self._changed = threading.Condition()
        self._ends: dict[str, threading.Event] = {}
        self.started: list[str] = []

    def start(self, *names: str) -> None:
        """Start calls of the tenant named by the first letter; they ask for slots in this order."""
        for name in names:
            self._ends[name] = threading.Event()
            asked = len(self._slots._waiting) + len(self.started)
            self._pool.submit(self._call, name)
            while len(self._slots._waiting) + len(self.started) == asked:
                with self._changed:
                    self._changed.wait(0.01)

    def end(self, name: str, *, then: int) -> None:
        """End a call, and wait until `then` calls have begun."""
        self._ends[name].set()
        self.await_begun(then)

    def await_begun(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.started) >= count, 60)

    def end_all(self) -> None:
        for end in self._ends.values():
            end.set()

    def _call(self, name: str) -> None:
        with self._slots.slot(name[0], self._functions.get(name[0], "")):
            with self._changed:
                self.started.append(name)
                self._changed.notify_all()
            assert self._ends[name].wait(60)


def test_slots_are_shared_and_the_least_busy_tenant_is_first() -> None:
    with ThreadPoolExecutor(16) as pool:
        calls = Calls(TenantSlots(slots=3, per_tenant=2), pool)
        calls.start("a1", "a2", "a3", "a4")
        calls.await_begun(2)  # the third slot is kept for others
        calls.start("b1", "b2", "c1")
        calls.await_begun(3)
        calls.end("a1", then=4)  # c has no running call, b has one
        calls.end("b1", then=5)  # now b has none, a has one
        calls.end("c1", then=6)
        assert calls.started == ["a1", "a2", "b1", "c1", "b2", "a3"]
        calls.end_all()
    assert sorted(calls.started) == ["a1", "a2", "a3", "a4", "b1", "b2", "c1"]


def test_failed_call_releases_its_slot() -> None:
    one = TenantSlots(slots=1, per_tenant=1, shares={"f": 1})
    for slot in (one.slot("a", "f"), one.slot_at_once("f"), one.slot("a", "f")):
        with pytest.raises(ZeroDivisionError), slot:
            raise ZeroDivisionError


def test_function_with_a_share_leaves_slots_to_the_stages_after_it() -> None:
    with ThreadPoolExecutor(16) as pool:
        calls = Calls(TenantSlots(slots=4, per_tenant=4, shares={"register": 0.5}), pool, functions={"a": "register"})
        calls.start("a1", "a2", "a3", "a4")
        calls.await_begun(2)
        calls.start("b1", "b2")
        calls.await_begun(4)
        calls.end("a1", then=5)
        calls.end("b1", then=5)  # two of the share run
        calls.end("a2", then=6)
        assert calls.started == ["a1", "a2", "b1", "b2", "a3", "a4"]
        calls.end_all()


def test_pool_that_throttles_refuses_what_finds_no_slot() -> None:
    slots = TenantSlots(slots=3, per_tenant=1, shares={"register": 0.4})
    with slots.slot_at_once("register"):
        with pytest.raises(ThrottledError), slots.slot_at_once("register"):
            pass
        with slots.slot_at_once("verify"), slots.slot_at_once("verify"), pytest.raises(ThrottledError):
            slots.slot_at_once("verify").__enter__()
    with slots.slot_at_once("register"):
        pass


@pytest.mark.parametrize(
    "request_",
    [
        {"import": {"tenant": "acme", "job_id": "1"}},
        {"export": {"tenant": "acme"}},
        {"schedule": {}, "snapshot": {"tenant": "acme"}},
        {"source": "aws.s3", "detail": {"bucket": {"name": "inbox"}, "object": {"key": "acme/vip/a.csv"}}},
    ],
)
def test_later_steps_of_an_execution_belong_to_the_tenant_of_its_request(request_: dict[str, Any]) -> None:
    tenants = Tenants()
    assert tenants.lookup({"input": request_, "execution": "e1"}) == "acme"
    assert tenants.lookup({"execution": "e1", "job_id": "j1"}) == "acme"
    assert tenants.lookup({"job_id": "j1"}) == "acme"
    assert tenants.lookup({"execution": "e2", "job_id": "j2"}) == "e2"  # began before the engine did


@pytest.mark.parametrize("event", [None, [], {}, {"input": 7}, {"input": {"import": {}, "detail": {"object": 1}}}])
def test_call_without_an_execution_has_no_tenant(event: Any) -> None:
    assert Tenants().lookup(event) == ""


def test_old_executions_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_slots, "REMEMBERED", 2)
    tenants = Tenants()
    for name in ("e1", "e2", "e3"):
        tenants.lookup({"input": {"import": {"tenant": "acme"}}, "execution": name})
    assert [tenants.lookup({"execution": name}) for name in ("e1", "e2", "e3")] == ["e1", "acme", "acme"]
