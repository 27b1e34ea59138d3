"""`pytest -p tests.rotation.collecting` writes the seconds of the collected `faults` tests to a file, as JSON."""

import json
from pathlib import Path
from typing import Final

import pytest

DEFAULT_SECONDS: Final = 60.0
"""For a test whose marker declares no seconds."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seconds-to", type=Path, required=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    seconds = {}
    for item in session.items:
        marker = item.get_closest_marker("faults")
        assert marker is not None
        seconds[item.nodeid] = float(marker.kwargs.get("seconds", DEFAULT_SECONDS))
    session.config.getoption("--seconds-to").write_text(json.dumps(seconds), encoding="utf-8")
