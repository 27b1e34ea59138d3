"""Fixtures of the parser tests."""

from collections.abc import Iterator

import pytest

from connectors.sources.fork_server import PARSERS


@pytest.fixture
def new_fork_server() -> Iterator[None]:
    """Let the next file start a fork server with the environment of that moment, and stop it after the test."""
    PARSERS.stop()
    yield
    PARSERS.stop()
