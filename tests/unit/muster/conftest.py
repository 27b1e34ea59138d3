from tests.unit.orchestration.api.conftest import _shared_world, client, service, world  # noqa: F401  # fixtures
