"""A home with an empty catalog, for commands that need no stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.context import Context
from tests.unit.orchestration.notifications.test_notices import make_context


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path))
    made = make_context(tmp_path)
    yield made
    made.database.close()
