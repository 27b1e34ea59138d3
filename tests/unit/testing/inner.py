"""Small test suites, run by a separate pytest."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
INI: Final = "[pytest]\nmarkers =\n    slow(why): it\n    faults(why): it\n    containers: it\n    browser: it\n"
ENVIRONMENT: Final = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # saves half of the time of such a run
    "PYTEST_PLUGINS": "xdist.plugin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": str(ROOT),
}


def write_suite(folder: Path, files: Mapping[str, str], ini: str = "") -> None:
    """Write test files by path."""
    (folder / "pytest.ini").write_text(INI + ini)
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def environment() -> dict[str, str]:
    """Environment for processes that run such a suite: nothing of this process' pytest."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | ENVIRONMENT


def run(folder: Path, arguments: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module in that folder, with variables besides those of `environment`."""
    command, env = [sys.executable, "-m", *arguments], environment() | variables
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
