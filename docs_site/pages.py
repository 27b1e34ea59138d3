"""Copies the pages of the documentation, and the files that they link to, to where the site is built.

The site has docs/ as its root, so that links within it stay as they are. Pages and files elsewhere in the repository go
below `source/`, and links to and from them are rewritten.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
ELSEWHERE: Final = "source"
PAGES: Final = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")
"""Pages beside docs/."""
LINK: Final = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
"""A link to a file: its beginning, the path, an anchor and the end."""

FENCE: Final = re.compile(r"^( *```)(\w+) \w+$", re.MULTILINE)
"""The beginning of a block that names its language, and for the tests what runs it; the site knows one word."""


class LinkedFileError(Exception):
    """A page links to a file that does not exist."""


def stage(folder: Path) -> None:
    """Write all pages and files below `folder`."""
    shutil.copytree(DOCS, folder, dirs_exist_ok=True)
    linked = {file for page in _sources() for file in _links(page) if not file.is_relative_to(DOCS)}
    for file in linked - {ROOT / name for name in PAGES}:
        copy = folder / _place(file)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    for page in _sources():
        copy = folder / _place(page)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(_rewritten(page), encoding="utf-8")


def _sources() -> Iterator[Path]:
    yield from sorted(DOCS.rglob("*.md"))
    yield from (ROOT / name for name in PAGES)


def _links(page: Path) -> Iterator[Path]:
    for found in LINK.finditer(page.read_text(encoding="utf-8")):
        file = _target(page, found[2])
        if not file.is_file():
            raise LinkedFileError(f"{page.relative_to(ROOT)} links to {found[2]}, which is no file")
        yield file


def _target(page: Path, link: str) -> Path:
    """The file that a page links to; of a folder of pages, the first one."""
    file = Path(os.path.normpath(page.parent / link))
    return min(file.glob("*.md"), default=file) if file.is_dir() else file


def _place(file: Path) -> Path:
    """Where a file of the repository is, below the root of the site."""
    return file.relative_to(DOCS) if file.is_relative_to(DOCS) else Path(ELSEWHERE) / file.relative_to(ROOT)


def _rewritten(page: Path) -> str:
    here = _place(page).parent

    def link(found: re.Match[str]) -> str:
        file = _target(page, found[2])
        return found[1] + Path(os.path.relpath(_place(file), here)).as_posix() + found[3]

    return FENCE.sub(r"\1\2", LINK.sub(link, page.read_text(encoding="utf-8")))
