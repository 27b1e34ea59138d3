from tests.unit.orchestration.api.conftest import (  # noqa: F401  # fixtures
    _no_fsync,
    _shared_world,
    client,
    service,
    world,
)
