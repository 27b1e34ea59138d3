"""Documents on stdout."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from orchestration.cli.console import print_json, print_json_rows

ROWS: list[dict[str, Any]] = [{"user_id": "a\nb", "n": None}, {"user_id": "日本", "n": 1.5}]


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS])
def test_rows_make_the_document_of_their_list(rows: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    print_json(rows)
    whole = capsys.readouterr().out
    print_json_rows(rows)
    assert capsys.readouterr().out == whole
    assert json.loads(whole) == rows


def test_rows_are_printed_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    def rows() -> Iterator[int]:
        yield 1
        assert "1" in capsys.readouterr().out
        yield 2

    print_json_rows(rows())
