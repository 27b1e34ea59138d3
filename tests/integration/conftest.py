"""Fixtures shared by tests of several files on a real stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.platform.settings import Settings
from tests.integration.workers import Workers, readers_are_kept


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[Workers]:
    """Segment workers beside the stack of the file; files about imports define their own."""
    running = Workers(settings, tmp_path, "orchestration.entrypoints.segment_worker")
    yield running
    running.close()


@pytest.fixture
def kept_readers() -> Iterator[None]:
    """Reuse a few consumers for the many questions that tests ask Kafka."""
    with readers_are_kept():
        yield


@pytest.fixture
def stopped(all_workers: Workers) -> Workers:
    """The workers of the file, none of which runs."""
    if all_workers.runs("a"):
        assert all_workers.stop("a") == 0
    return all_workers
