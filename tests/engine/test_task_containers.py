"""What only tasks in containers have: isolation, an image that may be missing, and a life beyond the engine's."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestration.local import stack
from tests.engine.support import Engine, running_engine, text_of, workers_on
from tests.engine.test_tasks import container, exit_codes, folder, started, stopped
from tests.servers.images import build_task_image, docker
from tests.waiting import until

__all__ = ["folder"]  # a fixture
pytestmark = [pytest.mark.containers, pytest.mark.integration]


@pytest.fixture(scope="module")
def engine(container_engine: Engine) -> Engine:
    return container_engine


def containers_of(home: Path) -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"label=muster.home={home}").split()


def only_container(home: Path) -> tuple[str, dict[str, Any]]:
    """Container id, and Docker's description of it."""
    [found] = containers_of(home)
    return found, json.loads(docker("inspect", found))[0]


def stop(engine: Engine, task: str) -> None:
    engine.client("ecs").stop_task(cluster=engine.values["TaskCluster"], task=task)
    stopped(engine, task)


def test_container_writes_its_home_without_privileges(engine: Engine, folder: Path) -> None:
    task = started(engine, container("main", "sleep", folder / "pid", memory=64))
    until(lambda: text_of(folder / "pid"))

    _, seen = only_container(engine.settings.home)

    host, home = seen["HostConfig"], str(engine.settings.home)
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"]) == (True, ["ALL"], False)
    assert (host["SecurityOpt"], host["NetworkMode"]) == (["no-new-privileges"], "host")
    assert (host["Memory"], host["MemorySwap"]) == (64 * 1024**2, 64 * 1024**2)
    assert [(m["Source"], m["Destination"]) for m in seen["Mounts"] if m["Type"] == "bind"] == [(home, home)]
    owner = engine.settings.home.stat()
    assert seen["Config"]["User"] == f"{owner.st_uid}:{owner.st_gid}"
    stop(engine, task)


def test_no_secret_is_an_argument_of_any_process_or_of_the_container(engine: Engine, folder: Path) -> None:
    secret = "hush-e2d1"
    variables = [{"name": "PASSWORD", "value": secret}]
    task = started(engine, container("main", "sleep", folder / "pid", environment=variables))
    until(lambda: text_of(folder / "pid"))

    _, seen = only_container(engine.settings.home)

    arguments = [*seen["Args"], seen["Path"], *(seen["Config"]["Entrypoint"] or []), *seen["Config"]["Cmd"]]
    arguments += [word for p in psutil.process_iter(["cmdline"]) for word in p.info["cmdline"] or ()]
    key = engine.settings.s3_secret_key.reveal()
    assert f"PASSWORD={secret}" in seen["Config"]["Env"]
    assert f"MUSTER_S3_SECRET_KEY={key}" in seen["Config"]["Env"]
    assert not [word for word in arguments if secret in word or key in word]
    stop(engine, task)


def test_container_sees_no_paths_of_the_engine(engine: Engine, folder: Path) -> None:
    task = started(engine, container("main", "sleep", folder / "pid"))
    until(lambda: text_of(folder / "pid"))

    _, seen = only_container(engine.settings.home)

    variables = dict(line.split("=", 1) for line in seen["Config"]["Env"])
    assert (variables["MUSTER_HOME"], variables["AWS_REGION"]) == (str(engine.settings.home), "us-east-1")
    assert (variables["PATH"].split(":")[0], variables["PYTHONPATH"]) == ("/opt/muster/bin", "/opt/tests")
    stop(engine, task)


def test_task_without_its_image_fails_to_start_with_the_remedy(engine: Engine) -> None:
    task = started(engine, container("main", "exit", 0, image="muster:no-such-tag"))

    end = stopped(engine, task)

    assert (end["stopCode"], exit_codes(end)) == ("TaskFailedToStart", {})
    assert end["stoppedReason"].startswith(
        "CannotStartContainerError: image muster:no-such-tag does not exist; build it"
    )
    assert containers_of(engine.settings.home) == []


def test_container_beyond_its_memory_is_killed_and_reported(engine: Engine) -> None:
    end = stopped(engine, started(engine, container("main", "fill", 512, memory=64)))

    assert exit_codes(end) == {"main": 137}
    assert end["containers"][0]["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def test_externally_removed_container_counts_as_killed(engine: Engine, folder: Path) -> None:
    task = started(engine, container("main", "sleep", folder / "pid"))
    until(lambda: text_of(folder / "pid"))

    docker("rm", "--force", only_container(engine.settings.home)[0])

    assert exit_codes(stopped(engine, task)) == {"main": 137}


def test_container_output_goes_to_the_log_of_tasks(engine: Engine) -> None:
    stopped(engine, started(engine, container("main", "variable", "NO_SUCH_VARIABLE", "x")))

    assert "KeyError: 'NO_SUCH_VARIABLE'" in (engine.settings.home / "logs" / "tasks.log").read_text()


@pytest.fixture
def image() -> str:
    return build_task_image()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    assert containers_of(tmp_path / "home") == []


def sleeping(engine: Engine, file: Path) -> None:
    """A task that ends only on SIGKILL, or long after every test."""
    started(engine, container("main", "stubborn", file, stopTimeout=120))
    until(lambda: text_of(file))


def test_next_start_removes_containers_of_a_killed_engine(home: Path, image: str) -> None:
    with running_engine(home, task_runner="docker", task_image=image) as killed:
        sleeping(killed, home / "pid")
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
        assert len(containers_of(home)) == 1

        with running_engine(home, task_runner="process") as next_one:
            assert containers_of(home) == []
            assert not workers_on(home / "pid")
            assert next_one.client("ecs").list_tasks(cluster=next_one.values["TaskCluster"])["taskArns"] == []


def test_down_removes_containers_of_a_killed_engine(home: Path, image: str) -> None:
    with running_engine(home, task_runner="docker", task_image=image) as killed:
        sleeping(killed, home / "pid")
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()

        stack.down(home)

        assert containers_of(home) == []


def test_stopping_engine_ends_its_containers(home: Path, image: str) -> None:
    with running_engine(home, task_runner="docker", task_image=image) as engine:
        sleeping(engine, home / "pid")
        engine.process.terminate()
        engine.process.wait(30)

        assert text_of(home / "pid.term") == "got it"
        assert containers_of(home) == []
