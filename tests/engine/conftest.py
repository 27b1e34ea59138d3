"""One engine for all tests of the session; another one, whose tasks are containers, for those of tasks.

Not one for each package: files of others come between those of this one, and an engine for each file is eight.
"""

from collections.abc import Iterator

import pytest

from orchestration.local.engine.server import TASK_MODULE
from tests.engine.support import Engine, running_engine
from tests.servers.images import build_task_image


@pytest.fixture(scope="session")
def process_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running_engine(tmp_path_factory.mktemp("engine")) as made:
        yield made


@pytest.fixture(scope="package")
def container_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    image = build_task_image()
    with running_engine(tmp_path_factory.mktemp("engine"), task_runner="docker", task_image=image) as made:
        yield made


@pytest.fixture(scope="module")
def shipped_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One whose tasks are the product's, as in a stack."""
    with running_engine(tmp_path_factory.mktemp("engine"), task_module=TASK_MODULE) as made:
        yield made


@pytest.fixture(scope="session")
def engine(process_engine: Engine) -> Engine:
    return process_engine
