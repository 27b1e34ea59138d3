from collections.abc import Iterator

import pytest

from tests.fakes.catalog import without_fsync


@pytest.fixture(scope="package", autouse=True)
def _no_fsync() -> Iterator[None]:
    with without_fsync():
        yield
