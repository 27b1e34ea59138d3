"""Services of the scaled parts: their wanted counts go to the supervisor, and what runs comes from it."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestration.local.counts import COUNTS_FILE, read_counts
from orchestration.local.home import Home
from orchestration.local.status import PartState, PartStatus, take_lock, write_status
from orchestration.workflow.services import ScaledServices, ServiceCounts
from schemas.errors import FatalError
from segmentation.scaling import Scaled
from tests.engine.support import Engine

pytestmark = pytest.mark.integration

STATES = {
    "api": PartState.READY,
    "relay": PartState.READY,
    "worker-1": PartState.READY,
    "worker-2": PartState.STARTING,
    "worker-3": PartState.STOPPING,
    "segment-worker-1": PartState.OFF,
}


@pytest.fixture
def home(engine: Engine) -> Iterator[Home]:
    """A home whose supervisor, this process, has written the states of its parts."""
    home = Home(path=engine.settings.home)
    lock = take_lock(home.lock_file)
    assert lock is not None
    write_status(
        home,
        tuple(
            PartStatus(name=name, state=state, pid=1, ports=(), restarts=0, since="", log="")
            for name, state in STATES.items()
        ),
    )
    yield home
    home.state_file.unlink()
    (home.path / COUNTS_FILE).unlink(missing_ok=True)
    os.close(lock)


@pytest.fixture
def services(engine: Engine) -> ScaledServices:
    return ScaledServices(lambda: engine.client("ecs"), engine.settings)


def test_running_processes_are_those_of_the_supervisor(home: Home, services: ScaledServices) -> None:
    assert services.counts() == {
        Scaled.RELAY: ServiceCounts(desired=1, running=1, starting=0),
        Scaled.WORKER: ServiceCounts(desired=3, running=1, starting=1),
        Scaled.SEGMENT_WORKER: ServiceCounts(desired=1, running=0, starting=0),
        Scaled.FEEDER: ServiceCounts(desired=0, running=0, starting=0),
    }
    services.set_count(Scaled.WORKER, 2)
    assert services.counts([Scaled.WORKER])[Scaled.WORKER] == ServiceCounts(desired=2, running=1, starting=1)
    assert read_counts(home) == {Scaled.WORKER: 2}


def test_concurrent_updates_keep_the_counts_of_other_services(home: Home, services: ScaledServices) -> None:
    with ThreadPoolExecutor(len(Scaled)) as pool:
        for count in range(10):
            list(pool.map(lambda part: services.set_count(part, count), Scaled))  # noqa: B023  # ends within the turn
            assert read_counts(home) == dict.fromkeys(Scaled, count)


def test_invalid_counts_are_refused(home: Home, services: ScaledServices) -> None:
    with pytest.raises(FatalError, match="ENGINE_REFUSED"):
        services.set_count(Scaled.RELAY, -1)
    assert read_counts(home) == {}
