"""Documents on stdout."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from orchestration.cli import console
from orchestration.cli.console import print_json, print_json_rows, print_pairs, print_table
from orchestration.platform.clock import fresh_id

ROWS: list[dict[str, Any]] = [{"user_id": "a\nb", "n": None}, {"user_id": "日本", "n": 1.5}]


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS])
def test_rows_become_the_json_document_of_their_list(rows: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    print_json(rows)
    whole = capsys.readouterr().out
    print_json_rows(rows)
    assert capsys.readouterr().out == whole
    assert json.loads(whole) == rows


def test_rows_are_printed_incrementally(capsys: pytest.CaptureFixture[str]) -> None:
    def rows() -> Iterator[int]:
        yield 1
        assert "1" in capsys.readouterr().out
        yield 2

    print_json_rows(rows())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, **env: str) -> Iterator[Terminal]:
    """A terminal of 80 columns."""
    with monkeypatch.context() as changed:
        changed.delenv("NO_COLOR", raising=False)
        for name, value in {"COLUMNS": "80", "TERM": "xterm", **env}.items():
            changed.setenv(name, value)
        changed.setattr("sys.stdout", shown := Terminal())
        console.out.cache_clear()
        yield shown
    console.out.cache_clear()


def test_ids_are_whole_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    job, other = fresh_id(), fresh_id()
    headers = ("JOB", "AGE", "KIND", "STATE", "AUDIENCE", "RESULT", "TO")
    audience, to = "an-audience/with-a-name-that-is-long", "s3://crm/of/some/long/folder/below/some/other"
    with terminal(monkeypatch) as shown:
        print_table(headers, [(job, "3 min", "audience", "FAILED", audience, f"READY {other}", to)])
    assert job in shown.getvalue()
    assert other in shown.getvalue()


def test_states_are_coloured_on_capable_terminals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def show() -> None:
        print_table(("NAME", "STATE"), [("FAILED", "FAILED")])
        print_pairs([("state", "READY")])

    with terminal(monkeypatch) as shown:
        show()
    coloured = shown.getvalue()
    assert (coloured.count("\x1b[31mFAILED"), coloured.count("\x1b[32mREADY")) == (1, 1)
    with terminal(monkeypatch, NO_COLOR="1") as shown:
        show()
    assert "\x1b[3" not in shown.getvalue()
    show()
    assert "\x1b" not in capsys.readouterr().out
