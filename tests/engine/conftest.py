"""One engine for all tests of this folder, run by a single process (`tests.conftest`); other engines for some."""

from collections.abc import Iterator

import pytest

from orchestration.local.engine.server import TASK_MODULE
from tests.engine.support import Engine, running_engine
from tests.servers.images import build_task_image


@pytest.fixture(scope="package")
def process_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running_engine(tmp_path_factory.mktemp("engine")) as made:
        yield made


@pytest.fixture(scope="package")
def container_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    image = build_task_image()
    with running_engine(tmp_path_factory.mktemp("engine"), task_runner="docker", task_image=image) as made:
        yield made


@pytest.fixture(scope="package")
def shipped_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with the product's tasks, as in a stack."""
    with running_engine(tmp_path_factory.mktemp("engine"), task_module=TASK_MODULE) as made:
        yield made


@pytest.fixture(scope="package")
def engine(process_engine: Engine) -> Engine:
    return process_engine
