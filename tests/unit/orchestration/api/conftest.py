from collections.abc import Iterator

import pytest

from orchestration.api.application import application
from orchestration.api.service import Service
from orchestration.api.thread_pool import ThreadPool
from orchestration.platform.budget import Budget
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import World, make_world


@pytest.fixture(scope="package")
def _shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("world"))
    yield made
    made.close()


@pytest.fixture
def world(_shared_world: World) -> World:
    """The one world of the process, without the changes of earlier tests."""
    _shared_world.reset()
    return _shared_world


@pytest.fixture
def service(world: World) -> Iterator[Service]:
    made = Service(
        services=world.services,
        hosts=frozenset({"127.0.0.1", "muster.example"}),
        budget=Budget(burst=10**6),
        calls=ThreadPool(limit_s=120),  # a machine may be busy; test_calls.py has the time-outs
    )
    yield made
    made.close()


@pytest.fixture
def client(service: Service) -> Iterator[AsgiClient]:
    made = AsgiClient(application(service))
    yield made
    made.close()


@pytest.fixture
def token(world: World) -> str:
    return world.tokens["acme-admin"].text.reveal()
