"""Fixtures of the tests of parsing."""

from collections.abc import Iterator

import pytest

from connectors.sources.fork_server import PARSERS


@pytest.fixture
def new_fork_server() -> Iterator[None]:
    """The next file starts a fork server, with what the environment is then; it is not there for the next test."""
    PARSERS.stop()
    yield
    PARSERS.stop()
