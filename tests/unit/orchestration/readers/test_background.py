"""Questions in the background: tenants share their places, and one ends once its caller may no longer ask."""

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from orchestration.catalog.operations import Operation, OperationStore
from orchestration.readers.background import AT_ONCE, PLACES, Background
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.pool import Readers
from orchestration.readers.questions import CheckSegment
from schemas.errors import MusterError, RetriableError, UserError
from schemas.ids import AudienceName, JobId, TenantName
from tests.faults.waiting import until


class Store:
    """Outcomes by operation."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Any] = {}

    def add(self, new: Operation) -> None:
        self.outcomes[new.operation_id] = None

    def finish(self, operation_id: str, outcome: Any, *, now_ms: int) -> None:
        assert now_ms
        self.outcomes[operation_id] = outcome

    def keep_alive(self, operations: list[str], *, until_ms: int) -> None:
        assert operations
        assert until_ms


class Endless:
    """Readers that work until they are given up or released."""

    def __init__(self) -> None:
        self.at_work: list[str] = []
        self.released = threading.Event()

    def ask_alone(self, question: CheckSegment, cancellation: Cancellation) -> str:
        self.at_work.append(question.tenant)
        while not self.released.is_set():
            select.select([cancellation], [], [], 0.01)
            cancellation.check()
        return "done"


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def readers() -> Endless:
    return Endless()


@contextmanager
def background(store: Store, readers: Endless) -> Iterator[Background]:
    made = Background(cast(OperationStore, store), cast(Readers, readers), check_s=0.01)
    try:
        yield made
    finally:
        readers.released.set()
        made.close()


def start(background: Background, tenant: str, **given: Any) -> Operation:
    name = TenantName(tenant)
    question = CheckSegment(tenant=name, segment=AudienceName("buyers"), timeout_s=1)
    return background.start(
        question, kind="segment_check", action="read_users", tenant=name, principal_id=JobId("p"), **given
    )


def test_greedy_tenant_leaves_slots_and_a_process_to_others(store: Store, readers: Endless) -> None:
    with background(store, readers) as made:
        for _ in range(PLACES // 2):
            start(made, "acme")
        with pytest.raises(RetriableError, match="READERS_BUSY"):
            start(made, "acme")
        until(lambda: len(readers.at_work) == AT_ONCE, "as many as one tenant may")
        start(made, "beta")
        until(lambda: readers.at_work[AT_ONCE:] == ["beta"], "the other tenant has its turn")
        readers.released.set()
        until(lambda: not made.pending, "all are answered")
    assert set(store.outcomes.values()) == {"done"}


def test_operation_ends_when_its_caller_loses_the_right(store: Store, readers: Endless) -> None:
    def refused() -> None:
        raise UserError("TOKEN_REVOKED", "revoked")

    with background(store, readers) as made:
        ended = start(made, "acme", check=refused)
        other = start(made, "acme")
        until(lambda: store.outcomes[ended.operation_id] is not None, "it ends")
        error = store.outcomes[ended.operation_id]
        assert isinstance(error, MusterError)
        assert error.code == "TOKEN_REVOKED"
        assert store.outcomes[other.operation_id] is None
