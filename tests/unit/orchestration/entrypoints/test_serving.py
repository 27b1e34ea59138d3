import math
from collections.abc import Callable

import pytest

from orchestration.catalog import migrate
from orchestration.entrypoints import serving
from orchestration.entrypoints.serving import persist
from orchestration.platform.settings import Secret
from schemas.errors import FatalError, MusterError, RetriableError
from tests.servers.ports import free_port

LATER = math.inf
AWAY = RetriableError("BROKER_UNAVAILABLE", "not yet")
REFUSED = FatalError("LOGON_REFUSED", "wrong password")


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "RETRY_PAUSE_S", 0)


def failing(*errors: MusterError) -> tuple[Callable[[], None], list[MusterError]]:
    """A step that fails with these errors in turn, and the remaining errors."""
    left = list(errors)

    def step() -> None:
        if left:
            raise left.pop(0)

    return step, left


def test_starting_server_is_asked_again() -> None:
    step, left = failing(AWAY, AWAY)

    persist(step, LATER)

    assert left == []


@pytest.mark.parametrize(("deadline", "error"), [(0.0, AWAY), (LATER, REFUSED)])
def test_waiting_ends_at_the_deadline_or_on_a_permanent_error(deadline: float, error: MusterError) -> None:
    step, left = failing(error, error)

    with pytest.raises(type(error)):
        persist(step, deadline)

    assert left == [error]


@pytest.mark.parametrize("ask", [migrate.upgrade, migrate.revisions])
def test_starting_catalog_counts_as_an_outage(ask: Callable[[Secret], object]) -> None:
    with pytest.raises(RetriableError) as away:
        ask(Secret(f"postgresql+psycopg://muster@127.0.0.1:{free_port()}/postgres"))
    assert away.value.code == "CATALOG_UNAVAILABLE"
