"""One broker and one S3 server for all tests of this folder: use separate ids, tenants, topics and keys."""

from collections.abc import Iterator

import pytest

from orchestration.platform.settings import Settings
from tests.conftest import stacks


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Kafka and S3, with their topics and buckets. They stop after the last test of the folder."""
    with stacks(tmp_path_factory.mktemp("stack")) as start:
        yield start(partitions=4)
