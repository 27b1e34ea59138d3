"""CHANGELOG.md in the format of Keep a Changelog: the unreleased entries become the section of a version."""

import re
from datetime import date
from typing import Final

from release.versions import Version

FILE: Final = "CHANGELOG.md"
UNRELEASED: Final = "## [Unreleased]"
_SECTION: Final = re.compile(r"^## \[Unreleased\]\n(?P<body>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ENTRY: Final = re.compile(r"^- \S", re.MULTILINE)


def unreleased(text: str) -> str:
    """The section `Unreleased` without its heading. Empty if it has no entries, or is missing."""
    found = _SECTION.search(text)
    return found["body"].strip() if found and _ENTRY.search(found["body"]) else ""


def dated(text: str, version: Version, day: date) -> str:
    """The changelog with the unreleased entries moved under `version`.

    Raises ValueError if there are no unreleased entries.
    """
    if not (entries := unreleased(text)):
        raise ValueError(f"{FILE} has no unreleased entries")
    replacement = f"{UNRELEASED}\n\n## [{version}] - {day.isoformat()}\n\n{entries}\n\n"
    return _SECTION.sub(lambda _: replacement, text, count=1).rstrip("\n") + "\n"
