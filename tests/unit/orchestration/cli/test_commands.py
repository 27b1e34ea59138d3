"""A function as a command: its value as JSON or text, its notes, its exit code."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import typer
from typer.main import get_command

from orchestration.cli.commands import Answer, Group, command, show_now
from orchestration.cli.console import print_line
from orchestration.cli.exits import ExitCode
from orchestration.cli.session import SESSION


@dataclass(frozen=True)
class Sum:
    numbers: list[int]

    def as_record(self) -> dict[str, int]:
        return {"sum": sum(self.numbers)}


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    yield
    SESSION.end()


def run(group: Group, *arguments: str) -> int:
    """Exit code of a command line."""
    group.callback()(lambda: None)
    try:
        get_command(group)(args=list(arguments), prog_name="x")
    except SystemExit as exc:
        return int(exc.code or 0)
    raise AssertionError("a command line ends")


def adding(**given: Any) -> Group:
    group = Group("numbers")

    @command(group, "add", "x add 1", show=lambda found: print_line(f"{found.numbers}"), **given)
    def add(*, numbers: list[int]) -> Answer[Sum]:
        """Add numbers."""
        show_now(numbers, lambda some: print_line(f"adding {len(some)}"))
        total = sum(numbers)
        notes = (f"note {n}" for n in numbers)
        return Answer(value=Sum(numbers), notes=notes, code=ExitCode.OK if total else ExitCode.CHECK_FAILED)

    return group


def test_text_output_ends_with_notes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(adding(), "add", "1", "2") == 0
    assert capsys.readouterr() == ("adding 2\n[1, 2]\n", "note 1\nnote 2\n")


def test_json_output_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(adding(), "add", "1", "2", "--json") == 0
    assert capsys.readouterr() == ('{\n  "sum": 3\n}\n', "note 1\nnote 2\n")


def test_answer_sets_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(adding(), "add", "0") == ExitCode.CHECK_FAILED
    assert capsys.readouterr().out == "adding 1\n[0]\n"


def test_an_iterator_is_printed_item_by_item(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(adding(record=lambda found: iter(found.numbers)), "add", "1", "2", "--json") == 0
    assert capsys.readouterr().out == "[\n  1,\n  2\n]\n"


def test_a_command_without_a_record_has_no_json() -> None:
    assert run(adding(record=None), "add", "1", "--json") == ExitCode.USAGE


def test_decorated_command_remains_a_function() -> None:
    @command(Group("numbers"), "one", "x one", show=print)
    def one() -> int:
        """One."""
        return 1

    assert one() == 1


def test_command_can_learn_whether_json_is_requested(capsys: pytest.CaptureFixture[str]) -> None:
    group = Group("numbers")

    @command(group, "ask", "x ask", show=print)
    def ask(*, json: bool = False) -> list[bool]:
        """Ask."""
        return [json]

    assert (run(group, "ask", "--json"), capsys.readouterr().out) == (0, "[\n  true\n]\n")
    assert isinstance(group, typer.Typer)
