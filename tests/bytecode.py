"""In a fresh checkout, one process compiles the tests and what they import, and the others wait for its bytecode.

Processes that start together would otherwise all compile the same modules: each takes three times as long to collect.
"""

import fcntl
import importlib.util
import sys
from collections.abc import Generator
from pathlib import Path

import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect alone as long as most of the tests have no bytecode, else once no process does."""
    tests = session.config.rootpath / "tests"
    if sys.dont_write_bytecode:
        return (yield)
    with (session.config.rootpath / "pyproject.toml").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if is_fresh(tests) else fcntl.LOCK_SH)
        if is_fresh(tests):
            return (yield)
    return (yield)


def is_fresh(tests: Path) -> bool:
    """Whether most modules of tests have no bytecode of this Python and pytest."""
    ending = f"{sys.implementation.cache_tag}-pytest-{pytest.__version__}.pyc"
    compiled = [
        Path(importlib.util.cache_from_source(str(file))).with_name(f"{file.stem}.{ending}").exists()
        for file in tests.rglob("test_*.py")
    ]
    return compiled.count(False) > len(compiled) // 2
