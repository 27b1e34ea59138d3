"""JSON Lines with one odd line gives the clean rows and a named reject, or exactly what the line means."""

import pytest

from tests.hostile.json_cases import LINES, cases, verdicts


@pytest.mark.parametrize(("name", "line", "code"), LINES, ids=[name for name, _, _ in LINES])
def test_malformed_line_is_never_read_as_another_row(name: str, line: bytes, code: str) -> None:
    assert [wrong for case in cases(name, line, code) for wrong in verdicts(case)] == []
