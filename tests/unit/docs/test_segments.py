"""docs/segments.md agrees with the code."""

import re
from pathlib import Path

from orchestration.catalog.segments import MAX_SEGMENTS
from segmentation.rules.parser import parse_rule
from tests.unit.orchestration.cli.test_command_line import LISTED

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "segments.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())


def test_the_commands_of_the_page_exist_and_none_is_left_out() -> None:
    named = set(re.findall(r"muster (segments [\w-]+|explain)", PAGE))
    assert named == {" ".join(path[1:]) for path in LISTED if path[1] in {"segments", "explain"}} - {"segments list"}


def test_the_rules_of_the_page_are_rules_and_the_limit_is_that_of_the_code() -> None:
    rules = re.findall(r'(?:preview|--rule) "(.*?)"', PAGE)
    assert len(rules) == 3
    for rule in rules:
        parse_rule(rule)
    assert f"at most {MAX_SEGMENTS} segments" in TEXT


def test_the_codes_of_the_page_are_raised() -> None:
    code = "\n".join(path.read_text() for p in ("orchestration", "segmentation") for path in (ROOT / p).rglob("*.py"))
    for name in re.findall(r"\(`([A-Z_]+)`", PAGE) + re.findall(r", `([A-Z_]+)`\)", PAGE):
        assert f'"{name}"' in code or f'"{name.split("_")[0]}_{{' in code, name
