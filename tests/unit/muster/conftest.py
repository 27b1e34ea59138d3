from tests.unit.orchestration.api.conftest import _no_fsync, _shared_world, client, service, world  # noqa: F401  # fixtures
