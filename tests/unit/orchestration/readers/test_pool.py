"""Readers as the service sees them, with scripted processes that speak the protocol."""

import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest

from connectors.fork_server.owner import Forks
from orchestration.platform.settings import Settings
from orchestration.readers import reader as reader_module
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.frames import encode
from orchestration.readers.pool import Readers
from orchestration.readers.questions import CountUsers
from orchestration.readers.reader import Reader
from orchestration.readers.starting import readers_of
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from schemas.ids import TenantName
from tests.faults.waiting import until

ROOT = Path(__file__).parents[4]
GONE = RetriableError("CLIENT_GONE", "gone")


def server(module: str) -> Forks:
    def start(control_fd: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, str(control_fd)]
        return subprocess.Popen(command, cwd=ROOT, pass_fds=(control_fd,), stdout=output, stderr=output)

    return Forks(start)


def starting(forks: Forks) -> Callable[[], Reader]:
    def start() -> Reader:
        reader = Reader(forks.fork())
        reader.send(encode({"settings": {}}))
        return reader

    return start


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    made = server("tests.fakes.reader_program")
    yield made
    made.stop()


def rule(text: str, tenant: str = "acme") -> CountUsers:
    return CountUsers(tenant=TenantName(tenant), rule=text, timezone=None, exact=False, users=0, notes=False)


class Asker:
    """Asks in threads."""

    def __init__(self, readers: Readers) -> None:
        self.readers = readers
        self.pool = ThreadPoolExecutor(40)

    def ask(self, text: str, cancellation: Cancellation | None = None, tenant: str = "acme") -> "Future[Any]":
        return self.pool.submit(self.readers.ask, rule(text, tenant), cancellation or Cancellation())

    def busy(self, readers: int = 1) -> list[tuple["Future[Any]", Cancellation]]:
        """So many readers that work until they are stopped."""
        cancellations = [Cancellation() for _ in range(readers)]
        asked = [(self.ask("sleep", one), one) for one in cancellations]
        until(lambda: len(self.readers._working) == readers, "the readers work")
        return asked


@pytest.fixture
def asker(forks: Forks) -> Iterator[Asker]:
    readers = Readers(starting(forks), starting(forks), count=1, waiting=5)
    made = Asker(readers)
    yield made
    readers.close()
    made.pool.shutdown()


def code(question: "Future[Any]") -> str:
    error = question.exception(30)
    assert isinstance(error, MusterError)
    return error.code


def test_reader_answers_questions_one_by_one(asker: Asker) -> None:
    answers = [asker.ask("echo").result(30) for _ in range(3)]
    assert [one["number"] for one in answers] == [1, 2, 3]
    assert len({one["pid"] for one in answers}) == 1


def test_reader_death_costs_only_its_question(asker: Asker) -> None:
    first = asker.ask("echo").result(30)["pid"]
    assert code(asker.ask("die")) == "READER_DIED"
    assert asker.ask("echo").result(30)["pid"] != first


def test_dead_reader_is_replaced_immediately(asker: Asker) -> None:
    assert code(asker.ask("die")) == "READER_DIED"
    until(lambda: asker.readers._free not in ([None], [None, None]), "another one has been started")


def test_long_idle_reader_answers(forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = starting(forks)()
    assert select.select([reader._connection], [], [], 30)[0], "it is ready"
    monkeypatch.setattr(reader_module, "START_TIMEOUT_S", 0.0)
    with Cancellation() as cancellation:
        assert reader.ask(rule("echo"), cancellation)["number"] == 1
    reader.close()


def test_abandoned_question_ends_and_its_reader_survives(asker: Asker) -> None:
    before = asker.ask("echo").result(30)["pid"]
    ((question, cancellation),) = asker.busy()
    cancellation.set(GONE)
    assert code(question) == "CLIENT_GONE"
    assert asker.ask("echo").result(30)["pid"] == before


def test_unresponsive_reader_is_killed(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "KILL_AFTER_S", 0.2)
    before = asker.ask("echo").result(30)["pid"]
    cancellation = Cancellation()
    question = asker.ask("hang", cancellation)
    until(lambda: bool(asker.readers._working), "the reader works")
    cancellation.set(GONE)
    assert code(question) == "CLIENT_GONE"
    assert asker.ask("echo").result(30)["pid"] != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_slow_question_times_out(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    asker.ask("echo").result(30)
    monkeypatch.setattr(CountUsers, "limit_s", 0.1)
    assert code(asker.ask("sleep")) == "QUESTION_TIMEOUT"


def test_questions_beyond_the_queue_are_refused(asker: Asker) -> None:
    asker.ask("echo").result(30)
    ((first, cancellation),) = asker.busy()
    waiting = [asker.ask("echo") for _ in range(3)]
    until(lambda: len(asker.readers._waiting) == 3, "three wait")
    assert code(asker.ask("echo")) == "READERS_BUSY"
    cancellation.set(GONE)
    assert [one.result(30)["number"] for one in waiting] == [3, 4, 5]
    assert code(first) == "CLIENT_GONE"


def test_tenant_is_answered_while_another_holds_its_full_share(asker: Asker) -> None:
    ((_, running),) = asker.busy()
    own = [asker.ask("echo") for _ in range(3)]
    until(lambda: len(asker.readers._waiting) == 3, "three wait")
    assert code(asker.ask("echo")) == "READERS_BUSY"
    assert asker.ask("echo", tenant="beta").result(30)["number"] == 1
    assert not any(one.done() for one in own)
    running.set(GONE)
    assert all(one.result(30) for one in own)


def test_waiting_question_can_be_abandoned(asker: Asker) -> None:
    ((_, running),) = asker.busy()
    waits = Cancellation()
    question = asker.ask("echo", waits)
    until(lambda: bool(asker.readers._waiting), "it waits")
    waits.set(GONE)
    assert code(question) == "CLIENT_GONE"
    running.set(GONE)


def test_long_question_has_its_own_process(asker: Asker) -> None:
    asker.busy()
    with Cancellation() as cancellation:
        pid = asker.readers.ask_alone(rule("echo"), cancellation)["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("asking", ["reads the answer", "is about to", "has it"])
def test_stop_abandons_questions_and_leaves_no_process(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, asking: str
) -> None:
    pid = asker.ask("echo").result(30)["pid"]
    has_it, goes_on = threading.Event(), threading.Event()
    receive, give_back, end_all = Reader._receive, Readers._give_back, Readers._end_all
    if asking == "is about to":
        monkeypatch.setattr(Reader, "_receive", lambda *given: goes_on.wait() and receive(*given))
    if asking == "has it":

        def held(pool: Readers, *given: Any) -> None:
            has_it.set()
            goes_on.wait()
            give_back(pool, *given)

        monkeypatch.setattr(Readers, "_give_back", held)
        monkeypatch.setattr(Readers, "_end_all", lambda pool: has_it.wait() and end_all(pool))
    ((question, _),) = asker.busy()
    waiting = asker.ask("echo")
    until(lambda: bool(asker.readers._waiting), "one waits")
    asker.readers.close()
    goes_on.set()
    assert code(question) in {"SERVICE_STOPS", "READER_DIED"}
    assert code(waiting) == "SERVICE_STOPS"
    assert code(asker.ask("echo")) == "SERVICE_STOPS"
    assert not asker.readers._alive
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_failed_reader_start_is_not_an_outage(tmp_path: Path) -> None:
    readers = readers_of(Settings(home=tmp_path, kafka_bootstrap="no address"))
    with pytest.raises(FatalError) as caught, Cancellation() as cancellation:
        readers.ask(rule("echo"), cancellation)
    assert caught.value.code == "READER_FAILED"
    readers.close()


class Edits:
    """The edits of one editor."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker

    def ask(self, revision: int, text: str, editor: str = "builder") -> "Future[Any]":
        cancellation, turns = Cancellation(), self.asker.readers.turns
        entered = threading.Event()

        def go() -> Any:
            try:
                with turns.newest(editor, revision, cancellation):
                    entered.set()
                    return self.asker.readers.ask(rule(text), cancellation)
            finally:
                entered.set()

        asked = self.asker.pool.submit(go)
        assert entered.wait(30)
        return asked


def test_a_higher_revision_ends_a_lower_one(asker: Asker) -> None:
    edits = Edits(asker)
    asker.ask("echo").result(30)
    first = edits.ask(1, "sleep")
    second = edits.ask(2, "echo")
    assert code(first) == "SUPERSEDED"
    assert second.result(30)


def test_late_older_revision_is_refused_immediately(asker: Asker) -> None:
    edits = Edits(asker)
    newest = edits.ask(7, "sleep")
    assert code(edits.ask(6, "echo")) == "SUPERSEDED"
    assert not newest.done()
    assert edits.ask(1, "echo", "another editor") is not None
    last = edits.ask(7, "echo")  # the exact number of the same edit
    assert code(newest) == "SUPERSEDED"
    assert last.result(30)


def test_the_questions_of_one_principal_leave_room_for_others(asker: Asker) -> None:
    turns = asker.readers.turns
    with turns.share("ann"), turns.share("ann"), turns.share("ann"), turns.share("ann"), turns.share("bob"):
        with pytest.raises(UserError) as caught, turns.share("ann"):
            pass
        assert caught.value.code == "TOO_MANY_QUESTIONS"
    with turns.share("ann"):
        pass
