"""How Docker's command line is used, with a program in its place."""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.local import doctor, processes
from orchestration.local.engine.ecs_tasks import container_order
from orchestration.local.engine.task_containers import (
    TIMED_OUT,
    DockerLauncher,
    docker,
    missing_requirement,
    remove_containers,
)
from orchestration.local.engine.task_launch import CannotStartError, ContainerOrder
from orchestration.local.home import Home
from orchestration.local.status import read_status
from orchestration.platform.settings import Settings

FAKE = """#!{python}
import json, os, sys
with open({log!r}, "a") as log:
    log.write(json.dumps({{"arguments": sys.argv[1:], "secret": os.environ.get("PASSWORD")}}) + "\\n")
command = " ".join(sys.argv[1:3])
for start, (code, said) in json.load(open({answers!r})).items():
    if command.startswith(start):
        print(said, file=sys.stderr if code else sys.stdout)
        sys.exit(code)
"""
ORDER = ContainerOrder(
    name="muster-task-1-main",
    image="muster:local",
    command=("task", "verify", "--now"),
    variables={"PASSWORD": "hush", "DOCKER_HOST": "tcp://elsewhere"},
    memory_mb=256,
)


class FakeDocker:
    """`answers`: start of a command -> exit code and output; other commands succeed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **answers: tuple[int, str]) -> None:
        self._log, self._answers = folder / "calls", folder / "answers"
        self.answer(**answers)
        program = folder / "docker"
        program.write_text(FAKE.format(python=sys.executable, log=str(self._log), answers=str(self._answers)))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def answer(self, **answers: tuple[int, str]) -> None:
        whole = self._answers.with_suffix(".new")
        whole.write_text(json.dumps(answers))
        whole.replace(self._answers)

    def calls(self, command: str) -> list[dict[str, Any]]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [call for line in lines if (call := json.loads(line))["arguments"][0] == command]


def launcher(home: Home) -> DockerLauncher:
    env = {**os.environ, "MUSTER_HOME": str(home.path), "AWS_REGION": "us-east-1"}
    return DockerLauncher(spawner=processes.Spawner(), env=env, home=home, output=home.log_file("tasks"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(path=tmp_path / "home")
    made.make()
    return made


def test_variables_are_passed_by_name_not_as_arguments(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeDocker(tmp_path, monkeypatch)

    launcher(home).launch(ORDER)

    [call] = fake.calls("create")
    assert {"--env=PASSWORD", "--env=MUSTER_HOME", "--env=AWS_REGION"} <= set(call["arguments"])
    assert call["secret"] == "hush"
    assert "hush" not in str(call["arguments"])
    assert call["arguments"][-4:] == ["muster:local", "task", "verify", "--now"]
    assert "--env=PATH" not in call["arguments"]


def test_client_variables_reach_only_the_container(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeDocker(tmp_path, monkeypatch)

    launcher(home).launch(ORDER)

    assert "--env=DOCKER_HOST=tcp://elsewhere" in fake.calls("create")[0]["arguments"]


def test_images_are_not_pulled(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeDocker(tmp_path, monkeypatch)

    launcher(home).launch(ORDER)

    assert "--pull=never" in fake.calls("create")[0]["arguments"]


def test_unstarted_container_is_removed_with_the_reason(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeDocker(tmp_path, monkeypatch, start=(1, "WARNING: no swap\nError: no such network\n\nRun --help"))

    with pytest.raises(CannotStartError, match=r"^Error: no such network$"):
        launcher(home).launch(ORDER)

    assert [call["arguments"][-1] for call in fake.calls("rm")] == [ORDER.name]


@pytest.mark.parametrize(
    ("answers", "code", "message"),
    [
        ({"version": (1, "Cannot connect to the daemon")}, "DOCKER_UNAVAILABLE", "Cannot connect to the daemon"),
        ({"image inspect": (1, "No such image")}, "TASK_IMAGE_MISSING", "image muster:local does not exist"),
    ],
    ids=["docker", "image"],
)
def test_task_and_doctor_name_missing_prerequisites(
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, tuple[int, str]],
    code: str,
    message: str,
) -> None:
    FakeDocker(tmp_path, monkeypatch, create=(1, "refused"), **answers)

    with pytest.raises(CannotStartError, match=message):
        launcher(home).launch(ORDER)
    settings = Settings(home=home.path, task_runner="docker")
    [reported] = [d for d in doctor.stack(settings, read_status(home)) if d.subject == "tasks"]
    lack = missing_requirement(settings.task_image)
    assert lack is not None
    assert (reported.severity, reported.code, message in reported.text, lack.advice in reported.text) == (
        "wrong",
        code,
        True,
        True,
    )


def test_doctor_confirms_docker_and_image(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeDocker(tmp_path, monkeypatch)
    settings = Settings(home=home.path, task_runner="docker")

    [reported] = [d for d in doctor.stack(settings, read_status(home)) if d.subject == "tasks"]

    assert (reported.severity, reported.text) == ("ok", "run in containers of muster:local, which exists")


def test_a_missing_docker_command_is_named(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    lack = missing_requirement("muster:local")

    assert lack is not None
    assert lack.code == "DOCKER_MISSING"
    with pytest.raises(CannotStartError, match="the docker command is missing; install Docker, or set task_runner"):
        launcher(home).launch(ORDER)


def test_doctor_skips_docker_for_process_tasks(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeDocker(tmp_path, monkeypatch)

    settings = Settings(home=home.path)
    assert [d for d in doctor.stack(settings, read_status(home)) if d.subject == "tasks"] == []

    assert fake.calls("version") == []


def test_home_without_containers_does_not_ask_docker(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeDocker(tmp_path, monkeypatch, ps=(0, "0a1b 2c3d"))

    remove_containers(home)
    assert fake.calls("ps") == []
    launcher(home).launch(ORDER)
    remove_containers(home)

    assert fake.calls("ps")[0]["arguments"][-1] == f"label=muster.home={home.path}"
    assert fake.calls("rm")[0]["arguments"][-2:] == ["0a1b", "2c3d"]


def test_containers_being_removed_are_awaited(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = (1, "removal of container 0a1b is already in progress")
    fake = FakeDocker(tmp_path, monkeypatch, ps=(0, "0a1b"), rm=refused)
    home.containers_mark.touch()
    with ThreadPoolExecutor(1) as pool:
        removing = pool.submit(remove_containers, home)
        while not fake.calls("rm"):
            assert not removing.done()
            time.sleep(0.01)
        asked = len(fake.calls("ps"))

        fake.answer(ps=(0, ""), rm=refused)

        removing.result(60)
    assert len(fake.calls("ps")) > asked


def test_exit_code_is_polled_through_a_docker_outage(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeDocker(tmp_path, monkeypatch, wait=(1, "Cannot connect to the Docker daemon"))
    container = launcher(home).launch(ORDER)
    with ThreadPoolExecutor(1) as pool:
        code = pool.submit(container.await_end)
        while not fake.calls("wait"):
            time.sleep(0.01)

        fake.answer(wait=(0, "3"))

        assert code.result(60).exit_code == 3
    assert [call["arguments"][-1] for call in fake.calls("rm")] == [ORDER.name]


def test_silent_docker_times_out(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeDocker(tmp_path, monkeypatch)
    (tmp_path / "docker").write_text("#!/bin/sh\nexec sleep 300\n")

    said = docker("version", timeout_s=0.2)

    assert (said.returncode, said.stderr) == (TIMED_OUT, "docker has not answered for 0.2 s")


def test_docker_outage_does_not_prevent_stopping_the_stack(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.containers_mark.touch()
    monkeypatch.setenv("PATH", str(tmp_path))

    remove_containers(home)


def test_task_overrides_replace_container_definitions() -> None:
    more = {"name": "main", "command": ["b"], "memory": 64, "environment": [{"name": "X", "value": "2"}]}
    task = SimpleNamespace(id="1", task_arn="arn", overrides={"containerOverrides": [more]})
    defined: dict[str, Any] = {
        "image": "i",
        "command": ["a"],
        "memory": 512,
        "environment": [{"name": "X", "value": "1"}],
    }

    main = container_order(task, {"name": "main", **defined})
    side = container_order(task, {"name": "side", **defined})

    assert (main.command, main.memory_mb, main.variables["X"]) == (("b",), 64, "2")
    assert (side.command, side.memory_mb, side.variables["X"]) == (("a",), 512, "1")
