"""docs/evidence.md: one section per exhibit, between marks, so that each can be rewritten without the others."""

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from tests.prove.exhibits import Exhibit, Section, Table
from tests.trees import commits_since

PAGE: Final = Path(__file__).parents[2] / "docs" / "evidence.md"
HEAD: Final = """# Evidence

What Muster promises, shown by running it. `make prove` writes this page. Each section says what ran, when and on what,
and how many commits had changed the product since then when the page was written last; `python -m tests.prove --behind`
says how many it is now.
"""
COMMIT: Final = re.compile(r"commit (?P<hash>[0-9a-f]{7,40})(?P<changes> with changes)?(?:, \d+ behind)?\b")
CHANGES: Final = " with changes"
FAILED: Final = "- **failed:**"
GIB: Final = 1024**3
VERSIONS: Final = ("pyarrow", "sqlalchemy", "pyiceberg", "faust-streaming", "numba")


def write(exhibits: Sequence[Exhibit], found: dict[str, tuple[Section, str]], page: Path = PAGE) -> None:
    """Write the sections that were `found` (each with its time and duration), and keep the others unchanged."""
    before = sections(page.read_text(encoding="utf-8")) if page.exists() else {}
    parts = [HEAD]
    for exhibit in exhibits:
        if exhibit.name in found:
            section, when = found[exhibit.name]
            parts.append(_written(exhibit, section, when))
        elif exhibit.name in before:
            parts.append(before[exhibit.name])
    page.write_text(COMMIT.sub(_aged, "\n".join(parts)), encoding="utf-8")


def ages(page: Path = PAGE) -> list[str]:
    """One line per exhibit: its commit, and how many commits have changed the product since."""
    found = sections(page.read_text(encoding="utf-8"))
    return [f"{name}: {_aged(commit)}" for name, text in found.items() if (commit := COMMIT.search(text))]


def _aged(commit: re.Match[str]) -> str:
    since = commits_since(commit["hash"])
    age = {None: "", 0: ""}.get(since, f", {since} behind")
    return f"commit {commit['hash']}{commit['changes'] or ''}{age}"


def machine() -> str:
    """The machine that the exhibits ran on, without naming its owner."""
    libraries = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    memory = round(psutil.virtual_memory().total / GIB)
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory} GiB, {platform.system()}; "
        f"Python {platform.python_version()}, {libraries}"
    )


def commit() -> str:
    """The commit that the evidence is for, marked if anything but this page has changed since."""
    git = ("git", "-C", str(PAGE.parents[1]))
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode != 0:
        return "of no commit"
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", ".", f":!docs/{PAGE.name}"], capture_output=True, text=True, check=True
    )
    return f"commit {head.stdout.strip()}{CHANGES if changed.stdout.strip() else ''}"


def sections(page: str) -> dict[str, str]:
    """The sections of the page, by the name of their exhibit."""
    return {
        found[1]: found[0] + "\n"
        for found in re.finditer(r"<!-- exhibit ([\w-]+) -->\n.*?<!-- end of \1 -->", page, re.DOTALL)
    }


def _written(exhibit: Exhibit, section: Section, when: str) -> str:
    lines = [f"<!-- exhibit {exhibit.name} -->", f"## {exhibit.title}", ""]
    lines += [f"**{section.summary}** {when}", ""]
    for text in section.text:
        lines += [text, ""]
    for failure in section.failures:
        lines += [f"{FAILED} {failure}", ""]
    for table in section.tables:
        lines += [*_table(table), ""]
    return "\n".join([*lines, f"<!-- end of {exhibit.name} -->"]) + "\n"


def _table(table: Table) -> list[str]:
    lines = [table.text, ""] if table.text else []
    lines.append(f"| {' | '.join(table.header)} |")
    lines.append(f"|{'---|' * len(table.header)}")
    return lines + [f"| {' | '.join(row)} |" for row in table.rows]
