"""CHANGELOG.md, as Keep a Changelog has it: what is unreleased becomes the section of a version."""

import re
from datetime import date
from typing import Final

from release.versions import Version

FILE: Final = "CHANGELOG.md"
UNRELEASED: Final = "## [Unreleased]"
_SECTION: Final = re.compile(r"^## \[Unreleased\]\n(?P<body>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ENTRY: Final = re.compile(r"^- \S", re.MULTILINE)


def unreleased(text: str) -> str:
    """The section `Unreleased` without its heading; empty if it has no entry, or is missing."""
    found = _SECTION.search(text)
    return found["body"].strip() if found and _ENTRY.search(found["body"]) else ""


def dated(text: str, version: Version, day: date) -> str:
    """The changelog with the unreleased entries under `version`, and nothing unreleased.

    Raises ValueError if there is no such entry.
    """
    if not (entries := unreleased(text)):
        raise ValueError(f"{FILE} has nothing unreleased")
    replacement = f"{UNRELEASED}\n\n## [{version}] - {day.isoformat()}\n\n{entries}\n\n"
    return _SECTION.sub(lambda _: replacement, text, count=1).rstrip("\n") + "\n"
