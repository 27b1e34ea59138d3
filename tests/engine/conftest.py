"""One engine for all tests of the package."""

import sys
from collections.abc import Iterator

import pytest

from orchestration.local import processes
from orchestration.local.engine.deploy import deploy
from orchestration.local.home import Home, initialise
from orchestration.local.parts import Context, _http_ok, environment
from orchestration.local.ports import Ports
from tests.conftest import stack_environment
from tests.engine.support import FUNCTIONS, HANDLERS, STARTED_BY_EVENT, Engine, wait_for


@pytest.fixture(scope="package")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    home = Home(path=tmp_path_factory.mktemp("engine"))
    settings = initialise(home, stack_environment({}), free_ports=True)
    context = Context(home=home, settings=settings, ports=Ports.load(home.ports_file, settings))
    env = environment(context, speaks_aws=True) | stack_environment({}) | settings.environment()
    argv = [sys.executable, "-m", "orchestration.local.engine.server", "--task-module", HANDLERS]
    process = processes.spawn(argv, env=env, output=home.log_file("engine"))
    try:
        wait_for(lambda: _http_ok(settings.engine_url + "/muster/health") or None)
        yield Engine(settings, deploy(settings, functions=FUNCTIONS, machines=[STARTED_BY_EVENT]))
    finally:
        processes.stop(process, timeout_s=10)
        wait_for(lambda: processes.marked(home.path) == [] or None, 10)
