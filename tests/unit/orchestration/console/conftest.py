from collections.abc import Iterator

import pytest

from orchestration.api.service import Service
from orchestration.console.application import application
from orchestration.platform.budget import Budget
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import World
from tests.unit.orchestration.api.conftest import _shared_world, world  # noqa: F401  # fixtures


@pytest.fixture
def service(world: World) -> Iterator[Service]:  # noqa: F811  # the fixture
    made = Service(services=world.services, hosts=frozenset({"127.0.0.1"}), budget=Budget(burst=10**6))
    yield made
    made.close()


@pytest.fixture
def client(service: Service) -> Iterator[AsgiClient]:
    made = AsgiClient(application(service))
    yield made
    made.close()
