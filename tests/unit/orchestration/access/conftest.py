import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.platform.settings import Settings
from schemas.ids import new_job_id
from tests.fakes.catalog import catalog_in
from tests.fakes.tenants import AT_MS, World, make_world


@pytest.fixture(autouse=True)
def _entries_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the audit trail's clock tick with every entry: those of one millisecond have no order."""
    ticks = itertools.count(AT_MS)

    def tick() -> int:
        return next(ticks)

    monkeypatch.setattr("orchestration.catalog.auditing.now_ms", tick)
    monkeypatch.setattr("orchestration.catalog.auditing.fresh_id", lambda: new_job_id(tick(), b"entry_____"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a migrated, empty catalog."""
    url = catalog_in(tmp_path / "empty")
    return Settings(home=tmp_path, catalog_url=url)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make_world(tmp_path)
    yield made
    made.services.database.close()
