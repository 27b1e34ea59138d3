"""DuckDB loses an interrupt between two statements; an interruption does not."""

import threading
from collections.abc import Iterator

import duckdb
import pytest

from orchestration.answers.interruption import Interrupted, Interruption
from tests.faults.waiting import until

SLOW = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        yield made


def test_query_ends_soon_after_its_question_is_abandoned(connection: duckdb.DuckDBPyConnection) -> None:
    interruption = Interruption()
    with interruption.question(1), interruption.stopping(connection.interrupt):
        threading.Timer(0.05, interruption.stop, [1]).start()
        with pytest.raises(duckdb.InterruptException):
            connection.execute(SLOW)
        assert interruption.stopped


def test_interrupt_between_statements_ends_the_next(connection: duckdb.DuckDBPyConnection) -> None:
    interruption = Interruption()
    with interruption.question(1), interruption.stopping(connection.interrupt):
        interruption.stop(1)
        with pytest.raises(duckdb.InterruptException):
            connection.execute(SLOW)


def test_question_abandoned_early_never_starts(connection: duckdb.DuckDBPyConnection) -> None:
    interruption = Interruption()
    interruption.stop(1)
    with interruption.question(1), pytest.raises(Interrupted), interruption.stopping(connection.interrupt):
        raise AssertionError


def test_the_next_question_is_not_interrupted(connection: duckdb.DuckDBPyConnection) -> None:
    interruption = Interruption()
    with interruption.question(1), interruption.stopping(connection.interrupt):
        interruption.stop(1)
        with pytest.raises(duckdb.InterruptException):
            connection.execute(SLOW)
    stops: list[int] = []
    with interruption.question(2), interruption.stopping(lambda: stops.append(1)):
        assert not interruption.stopped
        assert connection.execute("SELECT sum(range) FROM range(30000000)").fetchall()
    assert stops == []
    interruption.stop(3)
    with interruption.question(3):
        until(lambda: interruption.stopped, "the third is given up")
