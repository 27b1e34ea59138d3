"""A dead letter is replayed once despite repeated requests and dying processes."""

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from orchestration.catalog.dead_letter_marks import LEASE_MS, DeadLetterMarks
from orchestration.readers.questions import ReplayDeadLetters, SelectDeadLetters
from schemas.errors import FatalError, MusterError, RetriableError
from tests.fakes import readers
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import World

REPLAYS, DISMISSALS = "/v1/dead-letters/replays", "/v1/dead-letters/dismissals"


@pytest.fixture
def send(client: AsgiClient, world: World) -> Callable[..., Any]:
    token = world.tokens["deployment-operator"].text.reveal()

    def call(path: str, *numbers: int) -> Any:
        return client.send("POST", path, token=token, body={"dead_letters": list(numbers) or None}).json

    return call


def select(monkeypatch: pytest.MonkeyPatch, *numbers: int, topic_id: str = "t") -> None:
    """What the reader selects from now on."""
    answer = {"topic_id": topic_id, "numbers": list(numbers), "more": False}
    monkeypatch.setitem(readers.ANSWERS, SelectDeadLetters, lambda *_: answer)


def sent(world: World) -> list[int]:
    """The letters that were sent, in order."""
    asked = cast(readers.FakeReaders, world.services.readers).asked
    return [number for one in asked if isinstance(one, ReplayDeadLetters) for number in one.numbers]


def state(world: World, number: int) -> str:
    mark = world.services.dead_letter_marks.of("t").get(number)
    return "open" if mark is None else mark.state


def test_a_repeated_replay_sends_nothing_twice(send: Callable[..., Any], world: World) -> None:
    assert send(REPLAYS, 1, 2) == {"sent": 2, "already": 0, "more": False}
    assert send(REPLAYS, 2, 3) == {"sent": 1, "already": 1, "more": False}
    assert send(DISMISSALS, 3, 4) == {"dismissed": 1, "already": 1, "more": False}
    assert send(DISMISSALS, 4) == {"dismissed": 0, "already": 1, "more": False}
    assert sent(world) == [1, 2, 3]
    mark = world.services.dead_letter_marks.of("t")[3]
    assert (mark.state, mark.principal, mark.sent_offset) == ("replayed", "deployment-operator", 103)
    entries = [one for one in world.services.audit.page(None, limit=9) if one.action.startswith("dead-letters")]
    assert [(one.action, one.after) for one in reversed(entries)] == [
        ("dead-letters replay", {"sent": 2}),
        ("dead-letters replay", {"sent": 1}),
        ("dead-letters dismiss", {"dismissed": 1}),
        ("dead-letters dismiss", {"dismissed": 0}),
    ]


def test_a_recreated_topic_inherits_no_marks(
    send: Callable[..., Any], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(REPLAYS, 1)
    select(monkeypatch, 1, topic_id="u")
    assert send(REPLAYS, 1)["sent"] == 1
    assert sent(world) == [1, 1]


def test_concurrent_replays_claim_each_letter_once(world: World) -> None:
    together, taken = threading.Barrier(4), []

    def click(who: str) -> None:
        together.wait(60)
        marks = world.services.dead_letter_marks
        taken.extend(marks.take("t", range(20), "replaying", principal=who, now_ms=1, named=True))

    clicks = [threading.Thread(target=click, args=[who]) for who in ("ann", "bob", "cay", "dan")]
    for one in clicks:
        one.start()
    for one in clicks:
        one.join(60)
    assert sorted(taken) == list(range(20))


def test_replay_of_all_skips_letters_dismissed_meanwhile(
    send: Callable[..., Any], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(DISMISSALS, 1)
    select(monkeypatch, 1, 2)
    assert send(REPLAYS) == {"sent": 1, "already": 1, "more": False}
    assert sent(world) == [2]
    assert send(REPLAYS, 1)["sent"] == 1, "a number replays a dismissed letter"


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (RetriableError("READER_DIED", "killed"), "interrupted"),
        (FatalError("READER_FAILED", "a bug"), "interrupted"),
        (RetriableError("KAFKA_UNAVAILABLE", "away"), "open"),
        (RetriableError("READERS_BUSY", "busy"), "open"),
    ],
)
def test_failed_replay_reopens_a_letter_only_if_nothing_was_sent(
    send: Callable[..., Any], world: World, monkeypatch: pytest.MonkeyPatch, error: MusterError, left: str
) -> None:
    def die(*_: object) -> Any:
        raise error

    select(monkeypatch, 1)
    with monkeypatch.context() as dying:
        dying.setitem(readers.ANSWERS, ReplayDeadLetters, die)
        assert send(REPLAYS)["code"] == error.code
    assert state(world, 1) == left
    assert send(REPLAYS)["sent"] == (left == "open")
    assert send(REPLAYS, 1)["sent"] == (left == "interrupted"), "a number replays an interrupted letter"
    assert state(world, 1) == "replayed"


def test_unacknowledged_letters_are_interrupted(
    send: Callable[..., Any], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"sent": [{"dead_letter": 1, "topic": "t", "partition": 0, "offset": 5}], "failed": "timed out"}
    monkeypatch.setitem(readers.ANSWERS, ReplayDeadLetters, lambda *_: answer)
    assert send(REPLAYS, 1, 2)["code"] == "KAFKA_UNAVAILABLE"
    assert (state(world, 1), state(world, 2)) == ("replayed", "interrupted")


def test_claim_of_a_dead_service_expires(world: World) -> None:
    marks: DeadLetterMarks = world.services.dead_letter_marks
    assert marks.take("t", [1], "replaying", principal="ann", now_ms=0, named=True) == [1]
    assert marks.take("t", [1], "replaying", principal="bob", now_ms=LEASE_MS - 1, named=True) == []
    assert marks.of("t")[1].state_at(LEASE_MS - 1) == "replaying"
    assert marks.of("t")[1].state_at(LEASE_MS) == "interrupted"
    assert marks.take("t", [1], "replaying", principal="bob", now_ms=LEASE_MS, named=False) == []
    assert marks.take("t", [1], "replaying", principal="bob", now_ms=LEASE_MS, named=True) == [1]
    assert marks.of("t")[1].principal == "bob"
