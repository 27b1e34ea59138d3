"""The tests of a fresh checkout are compiled by one process (`tests.bytecode`)."""

from pathlib import Path

from tests.unit.testing.inner import run, write_suite

MODULE = """
import os
from pathlib import Path

with Path({log!r}).open("a") as log:
    log.write(f"{{os.getpid()}}\\n")

def test_it(): pass
"""


def test_one_process_collects_before_the_others_while_there_is_no_bytecode(tmp_path: Path) -> None:
    log, count = tmp_path / "imports.log", 40
    files = {f"tests/test_{number:02}.py": MODULE.format(log=str(log)) for number in range(count)}
    write_suite(tmp_path, {"conftest.py": "pytest_plugins = ['tests.bytecode']\n", **files})
    (tmp_path / "pyproject.toml").touch()

    ran = run(tmp_path, ["pytest", "-q", "-n", "3"], PYTHONDONTWRITEBYTECODE="")

    assert f"{count} passed" in ran.stdout
    importers = log.read_text().splitlines()
    assert len(importers) == 3 * count
    assert set(importers[:count]).isdisjoint(importers[count:])
