"""Listing and selection of dead letters, and their replays."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import cast

import pytest

from orchestration.answers import dead_letters
from orchestration.answers.dead_letters import DeadLetterLog, Marks, Numbered, Selection
from orchestration.catalog.dead_letter_marks import LEASE_MS, DeadLetterMark
from schemas.dead_letters import DeadLetterState
from schemas.errors import UserError
from schemas.ids import Partition
from schemas.messages import DeadLetter

LETTER = DeadLetter(
    topic="muster.events",
    partition=Partition(3),
    offset=0,
    key=b"\xff",
    value=b"{}",
    reason="undecodable: no JSON",
    failed_at_us=1,
)
NOW = 10**12
REPLAYED = DeadLetterMark(
    state="replayed", at_ms=NOW, principal="ann", sent_topic="muster.events", sent_partition=3, sent_offset=900
)
MARKS: Marks = {
    11: REPLAYED,
    13: replace(REPLAYED, state="dismissed", sent_offset=None),
    14: replace(REPLAYED, state="replaying", at_ms=NOW - LEASE_MS + 1, sent_offset=None),
    15: replace(REPLAYED, state="replaying", at_ms=NOW - LEASE_MS, sent_offset=None),
}


class FakeLog:
    """A topic whose letters 10 to 17 are there; 17 is what the replay of 11 became, and 16 is no letter."""

    topic_id, numbers = "t", range(10, 18)

    def __init__(self) -> None:
        self.read: list[int] = []

    def letters(self, first: int, last: int | None = None) -> Iterator[Numbered]:
        end = self.numbers.stop if last is None else last + 1
        for number in range(max(first, 10), min(end, 18)):
            self.read.append(number)
            if number == 12:
                yield number, replace(LETTER, topic="muster.imports", reason="not one of Muster's messages")
            elif number != 16:
                yield number, replace(LETTER, offset=900 if number == 17 else number)


@pytest.fixture
def log() -> DeadLetterLog:
    return cast(DeadLetterLog, FakeLog())


@pytest.mark.parametrize(
    ("limit", "states", "numbers", "more"),
    [
        (2, (), [15, 17], True),
        (9, (), [10, 11, 12, 13, 14, 15, 17], False),
        (2, ("open",), [12, 17], True),
        (3, ("open",), [10, 12, 17], False),
        (5, ("interrupted",), [15], False),
        (5, ("replaying",), [14], False),
        (1, ("replayed", "dismissed"), [13], True),
    ],
)
def test_the_newest_letters_in_some_states_are_listed(
    log: DeadLetterLog, limit: int, states: Collection[DeadLetterState], numbers: list[int], *, more: bool
) -> None:
    items, has_more = dead_letters.newest(log, MARKS, limit=limit, states=states, now_ms=NOW)
    assert ([one["dead_letter"] for one in items], has_more) == (numbers, more)


def test_replayed_letter_shows_sender_time_and_new_refusal(log: DeadLetterLog) -> None:
    items, _ = dead_letters.newest(log, MARKS, limit=9, states=(), now_ms=NOW)
    known = {one["dead_letter"]: one for one in items}
    assert (known[11]["state"], known[11]["state_by"], known[11]["state_at"]) == (
        "replayed",
        "ann",
        "2001-09-09T01:46:40.000Z",
    )
    assert (known[11]["sent_offset"], known[11]["refused_as"], known[17]["replay_of"]) == (900, 17, 11)
    assert (known[10]["refused_as"], known[10]["replay_of"], known[10]["state_by"]) == (None, None, None)
    assert (known[10]["code"], known[12]["code"]) == ("undecodable", None)


def test_whole_letter_has_bytes_and_decoded_text(log: DeadLetterLog) -> None:
    found = dead_letters.whole(log, MARKS, 11, now_ms=NOW)
    assert (found["value"], found["value_text"], found["key"], found["key_text"]) == ("e30=", "{}", "/w==", None)
    assert found["refused_as"] == 17
    assert dead_letters.whole(log, MARKS, 10, now_ms=NOW)["refused_as"] is None
    for number in (9, 16, 18):
        with pytest.raises(UserError, match=f"no dead letter {number};") as caught:
            dead_letters.whole(log, MARKS, number, now_ms=NOW)
        assert caught.value.code == "NO_SUCH_DEAD_LETTER"


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Selection(), [10, 12, 17]),
        (Selection(up_to=16), [10, 12]),
        (Selection(code="undecodable"), [10, 17]),
        (Selection(code=""), [12]),
        (Selection(topic="muster.imports"), [12]),
        (Selection(numbers=(13, 11, 13)), [11, 13]),
    ],
)
def test_selection_without_numbers_skips_marked_letters(
    log: DeadLetterLog, wanted: Selection, numbers: list[int]
) -> None:
    assert dead_letters.select(log, MARKS, wanted) == (numbers, False)


def test_a_selection_is_limited(log: DeadLetterLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "MAX_SELECTED", 2)
    assert dead_letters.select(log, MARKS, Selection()) == ([10, 12], True)


def test_missing_letters_are_named(log: DeadLetterLog) -> None:
    with pytest.raises(UserError, match="no dead letter 9, 16") as caught:
        dead_letters.select(log, MARKS, Selection(numbers=(9, 10, 16)))
    assert caught.value.code == "NO_SUCH_DEAD_LETTER"
