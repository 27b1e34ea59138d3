"""Every error code is named in some test, so none can be raised unseen."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.trees import PACKAGES, ROOT

RAISED = {"UserError", "RetriableError", "FatalError", "JobError"}
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")


def codes(path: Path) -> Iterator[str]:
    """First argument, or `code`, of every error constructor, also if chosen by an `if`."""
    text = path.read_text()
    if not any(f"{name}(" in text for name in RAISED):
        return  # most modules: parsing all of them takes seconds
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
            for given in [*node.args[:1], *(k.value for k in node.keywords if k.arg == "code")]:
                for part in ast.walk(given):
                    if isinstance(part, ast.Constant) and CODE.fullmatch(str(part.value)):
                        yield str(part.value)


def test_every_error_code_is_named_in_a_test() -> None:
    raised = {code for package in PACKAGES for path in (ROOT / package).rglob("*.py") for code in codes(path)}
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    assert len(raised) > 100
    assert sorted(raised - set(CODE_IN_TEXT.findall(tests))) == []


def test_every_code_of_the_troubleshooting_page_exists() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    product = "\n".join(path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    named = set(CODE_IN_TEXT.findall(page)) - {"MUSTER_HOME"}
    assert len(named) > 15
    assert sorted(named - set(CODE_IN_TEXT.findall(product))) == []


CODE_IN_TEXT = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
