"""The port for starting, stopping and awaiting one container of an ECS task, and its implementation with processes.

`task_containers` implements it with containers of an image; one suite, tests/engine/test_tasks.py, runs on both.
"""

import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from orchestration.local import processes

SIGNAL_EXIT_BASE: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOrder:
    """One container to run.

    `name` is unique among all containers of all tasks, `variables` come from its definition and overrides and hold
    secrets, `memory_mb` is the limit in its definition.
    """

    name: str
    image: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    memory_mb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEnd:
    """How a container ended: 128 + number for a signal, and ECS's words if the exit code does not say everything."""

    exit_code: int
    reason: str | None = None


class CannotStartError(Exception):
    """A container that cannot be started; the text says why and, if possible, what to do."""


class StartedContainer(Protocol):
    """One started container. All methods may be called from any thread, even after it has ended."""

    def stop(self, timeout_s: float) -> None:
        """SIGTERM, after `timeout_s` SIGKILL. Blocks until it has ended."""

    def kill(self) -> None:
        """SIGKILL."""

    def await_end(self) -> ContainerEnd:
        """Block until it and all processes that it started have ended. Called once."""


class Launcher(Protocol):
    """Starts containers."""

    def launch(self, order: ContainerOrder) -> StartedContainer:
        """Start one; it runs when this returns. Raises `CannotStartError`."""


class TaskProcess:
    """A process in place of a container."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def stop(self, timeout_s: float) -> None:
        """SIGTERM to its group, after `timeout_s` SIGKILL."""
        processes.stop(self._process, timeout_s=timeout_s)

    def kill(self) -> None:
        """SIGKILL to its group."""
        processes.signal_group(self._process, signal.SIGKILL)

    def await_end(self) -> ContainerEnd:
        """Wait for the process, and end the processes that it started."""
        code = self._process.wait()
        self.kill()
        # Docker, and therefore ECS, reports a signal as 128 + its number.
        return ContainerEnd(exit_code=code if code >= 0 else SIGNAL_EXIT_BASE - code)


class ProcessLauncher:
    """Runs `argv` and the command, without an image or a memory limit. `argv` replaces the image's entry point.

    `env` is the environment of a process, apart from its own variables. Processes are tethered to the engine.
    """

    def __init__(
        self, *, spawner: processes.Spawner, argv: Sequence[str], env: Mapping[str, str], output: Path
    ) -> None:
        self._spawner = spawner
        self._argv = tuple(argv)
        self._env = env
        self._output = output

    def launch(self, order: ContainerOrder) -> TaskProcess:
        """Start a process."""
        env = {**self._env, **order.variables}
        try:
            return TaskProcess(self._spawner.spawn([*self._argv, *order.command], env=env, output=self._output))
        except (OSError, ValueError) as exc:
            raise CannotStartError(str(exc)) from exc
