from tests.unit.conftest import _no_fsync  # noqa: F401  # the fixture
from tests.unit.orchestration.api.conftest import (  # noqa: F401  # fixtures
    _shared_world,
    client,
    service,
    world,
)
