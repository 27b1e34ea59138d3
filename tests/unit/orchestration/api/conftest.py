from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestration.api.application import application
from orchestration.api.budget import Budget
from orchestration.api.service import Service
from tests.fakes.asgi import AsgiClient
from tests.fakes.catalog import without_fsync
from tests.fakes.tenants import World, make_world


@pytest.fixture(scope="package", autouse=True)
def _no_fsync() -> Iterator[None]:
    with without_fsync():
        yield


@contextmanager
def opened(folder: Path) -> Iterator[tuple[World, AsgiClient]]:
    """A world in a new folder, and a client of its service."""
    folder.mkdir(parents=True)
    made = make_world(folder)
    service = Service(stores=made.stores, hosts=frozenset({"127.0.0.1"}), budget=Budget(burst=10**6))
    client = AsgiClient(application(service))
    yield made, client
    client.close()
    service.close()
    made.stores.database.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make_world(tmp_path)
    yield made
    made.stores.database.close()


@pytest.fixture
def service(world: World) -> Iterator[Service]:
    made = Service(stores=world.stores, hosts=frozenset({"127.0.0.1", "muster.example"}), budget=Budget(burst=10**6))
    yield made
    made.close()


@pytest.fixture
def client(service: Service) -> Iterator[AsgiClient]:
    made = AsgiClient(application(service))
    yield made
    made.close()
