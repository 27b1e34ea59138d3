"""Commits that other writers overtake, or whose answer is lost; the table here is a set of words."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException, ValidationException

from connectors.lake.optimistic import TRIES, Decision, Settled, Staged, commit_conflict, decide_and_commit
from schemas.errors import FatalError, MusterError, RetriableError, UserError

OVERTAKEN = CommitFailedException("branch main has changed")
EXPIRED = ValueError("Snapshot with snapshot id 7 does not exist: []")


class Catalog:
    """A table to which our writer wants to add a word. `answers`: what each commit raises, or None."""

    def __init__(self, *answers: Exception | None, taken: bool = False) -> None:
        self.words: set[str] = set()
        self.decided_from: list[set[str]] = []
        self.waits: list[float] = []
        self._answers: Iterator[Exception | None] = iter(answers)
        self._taken = taken

    def add(self, word: str, meanwhile: Callable[[], object] = lambda: None) -> str:
        def decide(table: Any) -> Decision[str]:
            self.decided_from.append(table.words)
            if word in table.words:
                return Settled(f"{word} is there")
            table.staged = word
            meanwhile()
            return Staged(table, f"added {word}")

        return decide_and_commit(
            lambda: Loaded(self),
            decide,
            doing="adding a word",
            conflict=commit_conflict("WORD_CONFLICT", audience="vip"),
            sleep=self.waits.append,
        )

    def commit(self, word: str) -> None:
        failure = next(self._answers, None)
        if failure is None or self._taken:
            self.words.add(word)
        if failure is not None:
            raise failure


class Loaded:
    """The table as loaded, and a transaction on it."""

    def __init__(self, catalog: Catalog) -> None:
        self.words = set(catalog.words)
        self._catalog = catalog
        self.staged = ""

    def commit_transaction(self) -> None:
        self._catalog.commit(self.staged)


@pytest.mark.parametrize(
    "lost", [OVERTAKEN, ValidationException("files were added"), EXPIRED], ids=lambda lost: type(lost).__name__
)
def test_lost_commit_is_decided_again_on_the_current_table(lost: Exception) -> None:
    catalog = Catalog(lost)
    assert catalog.add("ann", meanwhile=lambda: catalog.words.add("bob")) == "added ann"
    assert catalog.decided_from == [set(), {"bob"}]
    assert len(catalog.waits) == 1


def test_rule_broken_by_a_conflict_prevents_the_commit() -> None:
    catalog = Catalog(OVERTAKEN)
    assert catalog.add("ann", meanwhile=lambda: catalog.words.add("ann")) == "ann is there"


def test_commit_with_a_lost_answer_is_decided_again() -> None:
    assert Catalog(OSError("connection reset"), taken=True).add("ann") == "ann is there"


def test_undelivered_commit_is_repeated() -> None:
    assert Catalog(OSError("connection reset")).add("ann") == "added ann"


def test_repeated_conflicts_back_off_and_then_raise() -> None:
    catalog = Catalog(*[OVERTAKEN] * TRIES)
    with pytest.raises(RetriableError, match="vip: 20 consecutive commits lost to other writers") as caught:
        catalog.add("ann")
    assert (caught.value.code, len(catalog.decided_from)) == ("WORD_CONFLICT", 20)
    longest = [min(2.0, 0.05 * 2**tried) for tried in range(1, TRIES)]
    assert len(catalog.waits) == len(longest)
    assert all(most / 2 <= wait <= most for wait, most in zip(catalog.waits, longest, strict=True))


@pytest.mark.parametrize(("last", "code"), [(OSError("away"), "LAKE_UNAVAILABLE"), (OVERTAKEN, "WORD_CONFLICT")])
def test_last_attempt_determines_the_error(last: Exception, code: str) -> None:
    with pytest.raises(RetriableError, match=code):
        Catalog(*[OSError("away"), OVERTAKEN] * 9, OSError("away"), last).add("ann")


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (UserError("SCHEMA_MISMATCH", "age comes as text"), "SCHEMA_MISMATCH"),
        (RetriableError("AUDIENCE_BUSY", "it is being renamed"), "AUDIENCE_BUSY"),
        (FileNotFoundError("part"), "LAKE_FILE_MISSING"),
        (KeyError("a bug"), "a bug"),
        (ValueError("a bug"), "a bug"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else None,
)
def test_permanent_error_is_raised_immediately(failure: Exception, raised: str) -> None:
    catalog = Catalog(failure)
    with pytest.raises((MusterError, KeyError, ValueError), match=raised):
        catalog.add("ann")
    assert catalog.waits == []


@pytest.mark.parametrize(("away_in", "waits"), [("load", 0), ("decide", TRIES - 1)])
def test_outage_after_loading_the_table_is_retried(away_in: str, waits: int) -> None:
    def away(*_: object) -> Any:
        raise OSError("away")

    waited: list[float] = []
    steps: dict[str, Any] = {"load": lambda: None, "decide": away, away_in: away}
    conflict = commit_conflict("WORD_CONFLICT", audience="vip")
    with pytest.raises(RetriableError, match="LAKE_UNAVAILABLE: adding a word"):
        decide_and_commit(**steps, doing="adding a word", conflict=conflict, sleep=waited.append)
    assert len(waited) == waits


def test_decision_without_changes_commits_nothing() -> None:
    catalog = Catalog(FatalError("NOT_ASKED", "nothing is to be committed"))
    catalog.words.add("ann")
    assert catalog.add("ann") == "ann is there"
