"""Start and the tutorials, run word for word by a shell, against what they say is printed."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from orchestration.platform.settings import Settings
from tests.e2e.conftest import environment
from tests.trees import ROOT

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.slow("starts a process for each command of a page, as readers do"),
]
DOCS = ROOT / "docs"
PAGES = ("start.md", *sorted(str(page.relative_to(DOCS)) for page in (DOCS / "tutorials").glob("*.md")))
FENCE = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MAX_WORDS = 900


@pytest.mark.parametrize("name", PAGES)
def test_page_is_true_word_for_word(deployment: Settings, tmp_path: Path, name: str) -> None:
    """Blocks in `bash` run in one shell, and each line of a block in `text` is a line that they print."""
    page = (DOCS / name).read_text(encoding="utf-8")
    blocks = FENCE.findall(page)
    script = "\n".join(text for language, what, text in blocks if language == "bash" and what != "setup")
    found = environment(deployment.home)
    found["PATH"] = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{found['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail"],
        input=script,
        cwd=tmp_path,
        env=found,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    printed = {" ".join(line.split()) for line in done.stdout.splitlines()}
    said = [" ".join(line.split()) for language, _, text in blocks if language == "text" for line in text.splitlines()]
    assert said
    assert [line for line in said if line not in printed] == [], done.stdout


@pytest.mark.parametrize("name", PAGES)
def test_page_is_short(name: str) -> None:
    assert len((DOCS / name).read_text(encoding="utf-8").split()) <= MAX_WORDS
