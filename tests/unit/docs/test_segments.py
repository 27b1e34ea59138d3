"""docs/segments.md agrees with the code."""

import re
from pathlib import Path

from orchestration.catalog.segments import MAX_SEGMENTS
from segmentation.rules.parser import parse_rule
from tests.unit.orchestration.cli.test_command_line import LISTED

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "segments.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())


def test_page_lists_exactly_the_existing_commands() -> None:
    named = set(re.findall(r"muster (segments [\w-]+|explain)", PAGE))
    assert named == {" ".join(path[1:]) for path in LISTED if path[1] in {"segments", "explain"}} - {"segments list"}


def test_documented_segment_rules_and_limit_are_valid() -> None:
    rules = re.findall(r'(?:preview|--rule) "(.*?)"', PAGE)
    assert len(rules) == 6
    for rule in rules:
        parse_rule(rule)
    assert f"at most {MAX_SEGMENTS} segments" in TEXT


def test_documented_codes_are_raised() -> None:
    code = "\n".join(path.read_text() for p in ("orchestration", "segmentation") for path in (ROOT / p).rglob("*.py"))
    for name in re.findall(r"\(`([A-Z_]+)`", PAGE) + re.findall(r", `([A-Z_]+)`\)", PAGE):
        assert f'"{name}"' in code or f'"{name.split("_")[0]}_{{' in code, name
