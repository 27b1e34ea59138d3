from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.platform.settings import Secret, Settings
from tests.fakes.catalog import migrated, without_fsync
from tests.fakes.tenants import World, make_world


@pytest.fixture(scope="package", autouse=True)
def _no_fsync() -> Iterator[None]:
    with without_fsync():
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a migrated, empty catalog."""
    url = Secret(f"sqlite:///{tmp_path / 'empty' / 'catalog.db'}")
    migrated(url)
    return Settings(home=tmp_path, catalog_url=url)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make_world(tmp_path)
    yield made
    made.stores.database.close()
