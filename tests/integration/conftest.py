"""What tests of several files on a real stack share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.platform.settings import Settings
from tests.integration.workers import Workers, readers_are_kept


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[Workers]:
    """Workers of segments beside the stack of the file; files about imports have their own."""
    running = Workers(settings, tmp_path, "orchestration.entrypoints.segment_worker")
    yield running
    running.close()


@pytest.fixture
def kept_readers() -> Iterator[None]:
    """What a test asks of Kafka again and again costs it few consumers."""
    with readers_are_kept():
        yield
