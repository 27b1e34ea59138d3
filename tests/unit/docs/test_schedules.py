"""The page on schedules: its tests exist, and its expressions and placeholders are valid."""

import re
from pathlib import Path

from segmentation.placeholders import PLACEHOLDERS, fill
from segmentation.timetable import timetable

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8")


def test_every_test_of_the_page_exists() -> None:
    defined = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 5
    assert named - defined == set()


def test_documented_placeholders_are_filled_as_shown() -> None:
    times = timetable("cron(0 6 * * ? *)", "Europe/Berlin", 0)
    due = times.after(1_795_600_000_000)
    assert due is not None
    rows = re.findall(r"^\| (`\{[^|]+) \| ([^|]+?)(?:, always in UTC)? \|$", TEXT, re.MULTILINE)
    shown = {
        name: value
        for names, values in rows
        for name, value in zip(re.findall(r"\{\w+\}", names), re.findall(r"`([^`]+)`", values), strict=True)
    }
    assert set(shown) == {f"{{{name}}}" for name in PLACEHOLDERS}
    assert {name: fill(name, due, times.zone) for name in shown} == shown
