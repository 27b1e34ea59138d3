"""docs/glossary.md agrees with the code: its names exist, and its retired words are used nowhere."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from tests.trees import PACKAGES, ROOT

PAGE = ROOT / "docs" / "glossary.md"
OWNED = re.compile(r"^\| (\*\*.+?\*\*.*?) \| .+ \| `([\w.]+)` \|$", re.MULTILINE)
RETIRED = re.compile(r"^\| `(\w+)` \| .+ \|$", re.MULTILINE)


def exists(name: str) -> bool:
    words = name.split(".")
    for known in range(len(words), 0, -1):
        try:
            found: object = importlib.import_module(".".join(words[:known]))
        except ModuleNotFoundError:
            continue
        for word in words[known:]:
            found = getattr(found, word, None)
        return found is not None
    return False


def texts() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")
    yield from (ROOT / "docs").glob("*.md")
    yield from (ROOT / "README.md", ROOT / "ARCHITECTURE.md")


def test_each_term_is_defined_once_and_its_owner_exists() -> None:
    page = PAGE.read_text()
    rows = page.partition("## Retired")[0].count("\n| ") - 1  # without the heading
    owned = OWNED.findall(page)
    assert len(owned) == rows, "a row has not the form | **term** | meaning | `module.name` |"
    terms = [term for term, _ in owned]
    assert sorted({term for term in terms if terms.count(term) > 1}) == []
    assert [name for _, name in owned if not exists(name)] == []


def test_retired_words_are_unused() -> None:
    words = RETIRED.findall(PAGE.read_text().partition("## Retired")[2])
    assert len(words) >= 5
    used = re.compile(rf"\b({'|'.join(words)})\b")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in texts()
        if path != PAGE
        for match in used.finditer(path.read_text())
    ]
    assert found == []
