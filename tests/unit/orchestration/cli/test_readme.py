"""README and documentation index name only commands, options and pages that exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from orchestration.cli.main import app

ROOT = Path(__file__).parents[4]
INDEX = ROOT / "docs" / "README.md"
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", INDEX, ROOT / "docs" / "start.md")}
COMMANDS = re.findall(r"^muster (.+)$", "\n".join(PAGES.values()), re.MULTILINE)
MAKE = re.findall(r"^\$ make ([a-z-]+)", "\n".join(PAGES.values()), re.MULTILINE)
LINKS = [(path, target) for path, text in PAGES.items() for target in re.findall(r"\]\(([^)]+)\)", text)]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_readme_command_exists(line: str) -> None:
    command: Any = typer.main.get_command(app)
    for word in line.split():
        if hasattr(command, "commands"):
            command = command.commands[word]
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", line)) <= known


def test_the_readme_shows_commands() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize(("page", "target"), LINKS, ids=[target for _, target in LINKS])
def test_every_readme_link_resolves(page: Path, target: str) -> None:
    assert (page.parent / target.partition("#")[0]).exists()


def test_every_page_is_in_the_index() -> None:
    listed = {target for page, target in LINKS if page == INDEX}
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= listed


@pytest.mark.parametrize("target", MAKE)
def test_every_readme_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
