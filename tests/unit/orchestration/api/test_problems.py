"""Every error has a status, and a problem shows no more than its reader may know."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from orchestration.api.problems import problem, status_of
from orchestration.api.statuses import CODES, STATUS_OF_CODE
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from tests.trees import PACKAGES, ROOT

CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


def codes_of_user_errors() -> Iterator[str]:
    """First argument, or `code`, of every `UserError` in the source, also if chosen by an `if`."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "UserError":
                    continue
                for given in [*node.args[:1], *(k.value for k in node.keywords if k.arg == "code")]:
                    yield from (
                        part.value
                        for part in ast.walk(given)
                        if isinstance(part, ast.Constant) and isinstance(part.value, str) and CODE.fullmatch(part.value)
                    )


def test_exactly_user_error_codes_have_a_status() -> None:
    listed = Counter(code for codes in CODES.values() for code in codes.split())
    assert set(listed.values()) == {1}
    assert set(listed) == set(codes_of_user_errors())
    assert len(listed) > 150


def test_each_group_of_codes_is_sorted() -> None:
    for codes in CODES.values():
        assert codes.split() == sorted(codes.split())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("UNKNOWN_JOB", "x"), 404),
        (UserError("BAD_RULE", "x"), 422),
        (UserError("OF_A_LATER_RELEASE", "x"), 422),
        (RetriableError("CATALOG_UNAVAILABLE", "x"), 503),
        (RetriableError("UNKNOWN_JOB", "x"), 503),
        (FatalError("LAKE_MISMATCH", "x"), 500),
    ],
)
def test_error_class_and_code_determine_the_status(error: MusterError, status: int) -> None:
    assert status_of(error) == status == problem(error, "id")["status"]


def test_problem_contains_code_message_and_values() -> None:
    assert problem(UserError("BAD_NAME", "no such name", value="x"), "01m") == {
        "type": "/problems/BAD_NAME",
        "title": "Bad name",
        "status": 422,
        "detail": "no such name",
        "instance": "01m",
        "code": "BAD_NAME",
        "kind": "user",
        "values": {"value": "x"},
    }


def test_message_of_a_fatal_error_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    shown = problem(FatalError("LAKE_MISMATCH", "s3://lake/secret differs", uri="s3://lake/secret"), "01m")
    assert "secret" not in str(shown)
    assert caplog.messages == ["request 01m: LAKE_MISMATCH: s3://lake/secret differs"]
    assert shown["code"] == "LAKE_MISMATCH"
    assert STATUS_OF_CODE["BAD_NAME"] == 422
