"""A dead letter of any record fits into its topic."""

from collections.abc import Callable
from typing import Any

import pytest

from schemas.codec import CODEC
from schemas.dead_letters import dead_letter
from schemas.ids import Partition
from schemas.messages import DeadLetter
from schemas.topics import DEAD_LETTERS, MESSAGE_MAX_BYTES, TOPICS

MOST = next(topic.message_max_bytes for topic in TOPICS if topic.name == DEAD_LETTERS)


def letter(**given: Any) -> DeadLetter:
    record = {"topic": "muster.events", "partition": Partition(3), "offset": 9, "key": None, "value": b"x"}
    return dead_letter(**{**record, "reason": "too_large: x", "now_us": 1, **given})


def test_dead_letter_keeps_a_message_of_legal_size_whole() -> None:
    value = b"v" * (MESSAGE_MAX_BYTES - 3)
    kept = letter(key=b"key", value=value)
    assert (kept.key, kept.value, kept.reason) == (b"key", value, "too_large: x")
    assert letter(value=None).value == b""


@pytest.mark.parametrize(
    "make",
    [
        # Lambdas, so that tests create the values: created at collection, they would stay in every process.
        lambda: {"value": b"v" * 90_000_000},
        lambda: {"key": b"k" * 50_000_000},
        lambda: {"key": b"k" * 2_000_000, "value": b"v" * 2_000_000},
        lambda: {"value": b"v" * MESSAGE_MAX_BYTES, "reason": "broken_chunk: \U0001f600" * 100_000},
    ],
    ids=["value", "key", "both", "reason"],
)
def test_dead_letter_keeps_the_start_of_a_larger_message(make: Callable[[], dict[str, Any]]) -> None:
    given = make()
    kept = letter(**given)
    assert len(CODEC.encode(kept)) < MOST - 4096
    assert (kept.value, kept.key or b"") == (
        given.get("value", b"x")[: len(kept.value)],
        given.get("key", b"")[: len(kept.key or b"")],
    )
    if "reason" not in given:
        size = len(given.get("key", b"")) + len(given.get("value", b"x"))
        assert kept.reason == f"too_large: x (only the beginning of its {size} bytes is kept here)"
