"""The navigation of the site: the sections and links of docs/README.md, in their order, and the generated pages."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from docs_site.pages import DOCS

HEADING: Final = re.compile(r"^(##+) (.+)$")
ENTRY: Final = re.compile(r"\[([^\]]+)\]\(([^)#\s]+\.md)\)")
SECTIONS: Final = ("Start", "Tutorials", "Guides", "Reference", "Internals")
HOME: Final = "README.md"

Pages: TypeAlias = Sequence[tuple[str, str]]
"""Titles and paths."""


def navigation(added: Mapping[str, Mapping[str, Pages]]) -> dict[str, dict[str, list[tuple[str, str]]]]:
    """Pages by section and group; the group "" stands in the section itself. `added`: further groups of sections."""
    found: dict[str, dict[str, list[tuple[str, str]]]] = {}
    section = group = ""
    for line in (DOCS / HOME).read_text(encoding="utf-8").splitlines():
        if heading := HEADING.match(line):
            group = "" if heading[1] == "##" else heading[2]
            section = heading[2] if heading[1] == "##" else section
        elif section in SECTIONS:
            for title, path in ENTRY.findall(line):
                here = found.setdefault(section, {}).setdefault(group, [])
                here.append((title[0].upper() + title[1:], _within(path)))
    for name, groups in added.items():
        for title, pages in groups.items():
            found[name].setdefault(title, []).extend(pages)
    return found


def as_toml(found: Mapping[str, Mapping[str, Pages]]) -> str:
    """The navigation as a value of the configuration."""
    return _toml([{"Home": HOME}, *({section: _entries(groups)} for section, groups in found.items())])


def _entries(groups: Mapping[str, Pages]) -> list[object]:
    entries: list[object] = []
    for group, pages in groups.items():
        listed = [{title: path} for title, path in pages]
        entries += listed if not group else [{group: listed}]
    return entries


def _toml(value: object) -> str:
    if isinstance(value, dict):
        [(name, inner)] = value.items()
        return f"{{ {json.dumps(name)} = {_toml(inner)} }}"
    if isinstance(value, list):
        return "[\n" + "".join(f"{_toml(one)},\n" for one in value) + "]"
    return json.dumps(value)


def _within(path: str) -> str:
    """Where a page that docs/README.md links to is in the site."""
    return path if not path.startswith("../") else Path("source", path.removeprefix("../")).as_posix()
