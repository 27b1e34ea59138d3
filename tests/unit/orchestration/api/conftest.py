from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestration.api.application import application
from orchestration.api.budget import Budget
from orchestration.api.service import Service
from tests.fakes.asgi import AsgiClient
from tests.fakes.catalog import without_fsync
from tests.fakes.tenants import World, make_world

Door = Callable[[World], AsgiClient]


@pytest.fixture(scope="package", autouse=True)
def _no_fsync() -> Iterator[None]:
    with without_fsync():
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make_world(tmp_path)
    yield made
    made.stores.database.close()


@pytest.fixture
def service(world: World) -> Iterator[Service]:
    made = Service(stores=world.stores, hosts=frozenset({"127.0.0.1", "muster.example"}), budget=Budget(burst=10**6))
    yield made
    made.calls.close()


@pytest.fixture
def client(service: Service) -> Iterator[AsgiClient]:
    made = AsgiClient(application(service))
    yield made
    made.close()
