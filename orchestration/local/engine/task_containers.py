"""ECS tasks as containers of their image, through Docker's command line.

1. `docker create`: a missing image or Docker is noticed before RunTask answers. Nothing is pulled.
2. `docker start`.
3. `docker logs --follow` writes the output to the same place as that of processes.
4. `docker wait` returns the exit code, `docker rm` removes the container.

A container outlives a crashed engine: each has the label of its home, and `remove_containers` ends those of an earlier
engine. Variables hold secrets, so Docker's client gets them as its environment, and only their names as arguments.
"""

import logging
import math
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestration.local import processes
from orchestration.local.engine.task_launch import SIGNAL_EXIT_BASE, CannotStartError, ContainerEnd, ContainerOrder
from orchestration.local.home import Home

HOME_LABEL: Final = "muster.home"
PASSED: Final = ("MUSTER_", "AWS_", "NO_PROXY")
"""Prefixes of the engine's variables that a task inherits; paths and the like come from the image."""
CLIENTS_OWN: Final = "DOCKER_"
"""Variables of Docker's client itself: such a variable of a task must not redirect the client."""
ISOLATION: Final = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
CLIENT_TIMEOUT_S: Final = 15.0
"""Give up on a silent Docker before RunTask times out: the SDK retries after 60 s, which would start one more task."""
REMOVE_TIMEOUT_S: Final = 60.0
REMOVING_S: Final = 0.2
POLL_S: Final = 1.0
OUTPUT_TIMEOUT_S: Final = 5.0
OUT_OF_MEMORY: Final = "OutOfMemoryError: Container killed due to memory usage"
KILLED: Final = SIGNAL_EXIT_BASE + 9
NOT_FOUND: Final = 127
TIMED_OUT: Final = 124

log = logging.getLogger("muster.engine.containers")


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingRequirement:
    """A missing requirement for tasks in containers, and what to do about it."""

    code: str
    message: str
    advice: str


def docker(
    *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float | None = CLIENT_TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run Docker's client. A missing client, or one silent for `timeout_s`, fails with an exit code like any other."""
    argv = ["docker", *arguments]
    try:
        return subprocess.run(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except OSError as exc:
        return subprocess.CompletedProcess(argv, NOT_FOUND, "", f"docker cannot be executed: {exc.strerror}")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, TIMED_OUT, "", f"docker has not answered for {timeout_s:g} s")


def missing_requirement(image: str) -> MissingRequirement | None:
    """What keeps tasks from running in containers of this image. None if nothing does."""
    answer = docker("version", "--format", "{{.Server.Version}}")
    if answer.returncode == NOT_FOUND:
        advice = "install Docker, or set task_runner = process"
        return MissingRequirement(
            code="DOCKER_MISSING", message="task_runner is docker, but the docker command is missing", advice=advice
        )
    if answer.returncode != 0:
        advice = "start Docker, give this user access to it, or set task_runner = process"
        return MissingRequirement(
            code="DOCKER_UNAVAILABLE", message=f"Docker does not answer: {_output(answer)}", advice=advice
        )
    if docker("image", "inspect", "--format", "{{.Id}}", image).returncode != 0:
        advice = "build it (`make images`), or set task_image to an existing one; images are not pulled"
        return MissingRequirement(code="TASK_IMAGE_MISSING", message=f"image {image} does not exist", advice=advice)
    return None


def remove_containers(home: Home) -> None:
    """End all task containers of a home; returns when none is left.

    Calls Docker only if any were ever started. Never raises: containers that stay are logged.
    """
    if not home.containers_mark.exists():
        return
    deadline = time.monotonic() + CLIENT_TIMEOUT_S
    while True:
        done = docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={HOME_LABEL}={home.path}")
        left = done.stdout.split() if done.returncode == 0 else []
        if left:
            done = docker("rm", "--force", "--volumes", *left, timeout_s=REMOVE_TIMEOUT_S)
            if done.returncode == 0:
                log.warning("removed %d task container(s)", len(left))
        if done.returncode == 0:
            return
        # Docker refuses to remove a container that it is already removing.
        if not left or time.monotonic() > deadline:
            log.warning("some task containers may remain: %s", _output(done))
            return
        time.sleep(REMOVING_S)


class TaskContainer:
    """One container run by Docker."""

    def __init__(self, name: str, output: subprocess.Popen[bytes]) -> None:
        self._name = name
        self._output = output

    def stop(self, timeout_s: float) -> None:
        """Docker itself waits and kills, so the container ends even if the engine does not live that long."""
        seconds = math.ceil(timeout_s)
        self._docker("stop", "-t", str(seconds), self._name, timeout_s=seconds + CLIENT_TIMEOUT_S)

    def kill(self) -> None:
        """SIGKILL."""
        self._docker("kill", self._name, timeout_s=CLIENT_TIMEOUT_S)

    def _docker(self, *arguments: str, timeout_s: float) -> None:
        done = docker(*arguments, timeout_s=timeout_s)
        if done.returncode != 0:  # usually it has ended
            log.info("docker %s: %s", arguments[0], _output(done))

    def await_end(self) -> ContainerEnd:
        """Wait for the container, and remove it."""
        code = self._exit_code()
        out_of_memory = docker("inspect", "--format", "{{.State.OOMKilled}}", self._name).stdout.strip() == "true"
        try:
            self._output.wait(OUTPUT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            processes.stop(self._output, timeout_s=OUTPUT_TIMEOUT_S)
        _remove(self._name)
        return ContainerEnd(exit_code=code, reason=OUT_OF_MEMORY if out_of_memory and code == KILLED else None)

    def _exit_code(self) -> int:
        """Wait for Docker while it is unavailable: only Docker knows how the container ends."""
        while (done := docker("wait", self._name, timeout_s=None)).returncode != 0:
            if "no such container" in done.stderr.lower():
                return KILLED  # the container was removed from outside
            log.warning("docker wait: %s", _output(done))
            time.sleep(POLL_S)
        return int(done.stdout)


class DockerLauncher:
    """Runs the image of a container definition on the host's network, with the home as its only volume.

    Containers have the user and group of the engine, which own the home: the catalog of an embedded stack is there.
    `env` is the environment of the engine; a task inherits the variables that begin with `PASSED`.
    """

    def __init__(self, *, spawner: processes.Spawner, env: Mapping[str, str], home: Home, output: Path) -> None:
        self._spawner = spawner
        self._env = env
        self._home = home
        self._output = output

    def launch(self, order: ContainerOrder) -> TaskContainer:
        """Create and start a container; one that cannot be started is removed."""
        self._home.containers_mark.touch()
        try:
            self._start(order)
            logs = ["docker", "logs", "--follow", order.name]
            return TaskContainer(order.name, self._spawner.spawn(logs, env=self._env, output=self._output))
        except (CannotStartError, OSError, ValueError) as exc:
            _remove(order.name)
            raise CannotStartError(str(exc)) from exc

    def _start(self, order: ContainerOrder) -> None:
        inherited = {name: value for name, value in self._env.items() if name.startswith(PASSED)}
        passed = {**inherited, **order.variables}
        given = {name: value for name, value in passed.items() if not name.startswith(CLIENTS_OWN)}
        variables = [f"--env={name}" if name in given else f"--env={name}={value}" for name, value in passed.items()]
        command = [*self._options(order), *variables, order.image, *order.command]
        done = docker("create", *command, env={**self._env, **given})
        if done.returncode == 0:
            done = docker("start", order.name)
        if done.returncode != 0:
            lack = missing_requirement(order.image)
            raise CannotStartError(f"{lack.message}; {lack.advice}" if lack else _output(done))

    def _options(self, order: ContainerOrder) -> list[str]:
        return [
            f"--name={order.name}",
            f"--label={HOME_LABEL}={self._home.path}",
            "--pull=never",
            "--init",  # forwards signals, and reports a signal that ended the program as 128 + its number
            "--stop-signal=SIGTERM",
            "--log-driver=json-file",
            "--network=host",
            *ISOLATION,
            f"--user={os.getuid()}:{os.getgid()}",
            f"--memory={order.memory_mb}m",
            f"--memory-swap={order.memory_mb}m",  # none, as on Fargate
            f"--mount=type=bind,source={self._home.path},target={self._home.path}",
        ]


def _remove(name: str) -> None:
    docker("rm", "--force", "--volumes", name)


def _output(done: subprocess.CompletedProcess[str]) -> str:
    """Docker's error message, without warnings before and advice after it."""
    lines = (line for line in done.stderr.splitlines() if line and not line.startswith("WARNING"))
    return next(lines, f"exit code {done.returncode}")
