"""One S3 server for the lake's tests."""

from collections.abc import Iterator

import pytest

from connectors.lake.access import S3Access
from tests.unit.lake.support import object_server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Access]:
    with object_server(tmp_path_factory.mktemp("weed")) as access:
        yield access
