"""ECS tasks as processes: RunTask starts one, its exit code is the container's, StopTask ends it.

moto keeps the records; it ships with tasks that never stop and with exit codes that nobody sets.
"""

import contextlib
import importlib
import logging
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from orchestration.local import processes

STOP_TIMEOUT_S: Final = 30
"""ECS's default for a container's `stopTimeout`."""
MEMORY_MB: Final = 512
SIGNAL_EXIT_BASE: Final = 128

log = logging.getLogger("muster.engine.ecs")


class TaskProcesses:
    """Starts and stops the processes of tasks.

    `argv` goes before the command of the container; `env` is everything a task finds besides the variables of its
    container definition and overrides.
    """

    def __init__(
        self, *, spawner: processes.Spawner, argv: Sequence[str], env: Mapping[str, str], output: Path
    ) -> None:
        self._spawner = spawner
        self._argv = tuple(argv)
        self._env = env
        self._output = output
        self._running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
        self._lock = threading.Lock()

    def start(self, task: Any, container: Mapping[str, Any]) -> None:
        """Start the process of a moto task and watch it: its end makes the task STOPPED."""
        override: Mapping[str, Any] = next(
            (o for o in (task.overrides or {}).get("containerOverrides", []) if o.get("name") == container["name"]), {}
        )
        variables = [*(container.get("environment") or []), *(override.get("environment") or [])]
        command = list(override.get("command") or container.get("command") or [])
        env = {**self._env, "MUSTER_TASK_ARN": task.task_arn, **{v["name"]: v["value"] for v in variables}}
        process = self._spawner.spawn([*self._argv, *command], env=env, output=self._output)
        log.info("task %s: process %d: %s", task.id, process.pid, " ".join(command))
        with self._lock:
            self._running[task.task_arn] = process, float(container.get("stopTimeout") or STOP_TIMEOUT_S)
        task.containers[0].last_status = "RUNNING"
        threading.Thread(target=self._watch, args=(task, process), name=f"task {task.id}", daemon=True).start()

    def stop(self, task_arn: str) -> None:
        """SIGTERM, after the container's stop timeout SIGKILL. Returns at once; a task that has ended is no error."""
        with self._lock:
            running = self._running.get(task_arn)
        if running is not None:
            process, timeout_s = running
            threading.Thread(target=_stop, args=(process, timeout_s), name=f"stop {task_arn}", daemon=True).start()

    def stop_all(self, timeout_s: float) -> None:
        """End every task before the engine itself ends."""
        with self._lock:
            running = [process for process, _ in self._running.values()]
        for process in running:
            processes.signal_group(process.pid, signal.SIGTERM)
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
            processes.signal_group(process.pid, signal.SIGKILL)

    def _watch(self, task: Any, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        processes.signal_group(process.pid, signal.SIGKILL)  # what the task itself has started
        with self._lock:
            self._running.pop(task.task_arn, None)
        container = task.containers[0]
        # Docker, and so ECS, shows a signal as 128 + its number.
        container.exitCode = container.exit_code = code if code >= 0 else SIGNAL_EXIT_BASE - code
        container.last_status = "STOPPED"
        task.stop_code = task.stop_code if getattr(task, "stop_code", None) else "EssentialContainerExited"
        task.stopped_reason = task.stopped_reason or "Essential container in task exited"
        task.desired_status = "STOPPED"
        task.process_status = "STOPPED"
        log.info("task %s ended with exit code %d", task.id, container.exitCode)


def _stop(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    processes.signal_group(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        processes.signal_group(process.pid, signal.SIGKILL)


def install(tasks: TaskProcesses) -> None:
    """Let moto's RunTask and StopTask start and end processes."""
    models: Any = importlib.import_module("moto.ecs.models")
    backend, moto_task = models.EC2ContainerServiceBackend, models.Task

    run_task, stop_task = backend.run_task, backend.stop_task
    requirements = backend._calculate_task_resource_requirements  # noqa: SLF001

    def with_memory(definition: Any) -> Any:
        # moto insists on memory of the container; a Fargate definition has it at the level of the task.
        for container in definition.container_definitions:
            container.setdefault("memory", int(getattr(definition, "memory", None) or MEMORY_MB))
        return requirements(definition)

    def run(self: Any, *args: Any, **options: Any) -> Any:
        started = run_task(self, *args, **options)
        for task in started:
            definition = self.describe_task_definition(task.task_definition_arn)
            tasks.start(task, definition.container_definitions[0])
        return started

    def stop(self: Any, cluster_str: str, task_str: str, reason: str) -> Any:
        for task in self.tasks.get(self._get_cluster(cluster_str).name, {}).values():
            if task.task_arn.endswith(task_str.rsplit("/", maxsplit=1)[-1]):
                task.stop_code = "UserInitiated"
                tasks.stop(task.task_arn)
        return stop_task(self, cluster_str, task_str, reason)

    # A task is RUNNING until its process has ended; moto would move it on at each look.
    moto_task.advance = lambda _: None
    moto_task.process_status = "RUNNING"
    moto_task.last_status = property(lambda self: self.process_status, lambda _self, _value: None)
    backend._calculate_task_resource_requirements = staticmethod(with_memory)  # noqa: SLF001
    backend.run_task, backend.stop_task = run, stop
