from tests.unit.orchestration.api.conftest import _no_fsync, client, service, world  # noqa: F401  # fixtures
