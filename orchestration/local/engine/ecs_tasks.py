"""ECS tasks: RunTask starts their containers, exit codes are the containers', StopTask ends them.

moto keeps the records; out of the box its tasks never stop and its exit codes are never set. The launcher decides
whether a container is a process or a Docker container (`task_launch`). As on ECS:

1. a task ends when one of its essential containers does: the others get SIGTERM, after their `stopTimeout` SIGKILL;
2. a non-essential container may end, and the task continues;
3. a task with a container that cannot be started is STOPPED with TaskFailedToStart and has no exit code;
4. stopped tasks are forgotten after a while.
"""

import copy
import importlib
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from orchestration.local.engine.moto_parts import forget_instances
from orchestration.local.engine.task_launch import CannotStartError, ContainerOrder, Launcher, StartedContainer

STOP_TIMEOUT_S: Final = 30
"""ECS's default for a container's `stopTimeout`."""
MEMORY_MB: Final = 512
STOPPED_KEPT: Final = 500
"""Stopped tasks of a cluster that are kept; ECS shows them for an hour."""
LIMIT_REACHED: Final = "You've reached the limit on the number of tasks you can run concurrently"
OVERRIDES_MAX: Final = 8192
"""The most characters of JSON that RunTask accepts as overrides."""

log = logging.getLogger("muster.engine.ecs")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRules:
    """What a RunTask may request: the first words of commands, and the variables that overrides may set.

    The state machines request nothing else. Without the rules, any signer of requests could run any program.
    """

    words: frozenset[str]
    variables: frozenset[str]

    def broken_by(self, overrides: Mapping[str, Any] | None) -> str | None:
        """The rule that the overrides of a task break, or None."""
        for override in (overrides or {}).get("containerOverrides") or ():
            command = override.get("command")
            if command and command[0] not in self.words:
                return f"a task runs {', '.join(sorted(self.words))}, not {str(command[0])[:60]!r}"
            unknown = {str(variable.get("name")) for variable in override.get("environment") or ()} - self.variables
            if unknown or override.get("environmentFiles"):
                return f"overrides set {', '.join(sorted(self.variables))}, not {', '.join(sorted(unknown))[:200]}"
        return None


TASK_RULES: Final = TaskRules(words=frozenset({"task"}), variables=frozenset({"MUSTER_PLACE"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningContainer:
    """`record` is moto's container, which gets a status and an exit code when `started` has ended."""

    record: Any
    started: StartedContainer
    essential: bool
    stop_timeout_s: float

    def stop(self, timeout_s: float | None = None) -> threading.Thread:
        """SIGTERM, then SIGKILL after the timeout (default: its stop timeout). Returns the waiting thread at once."""
        seconds = self.stop_timeout_s if timeout_s is None else timeout_s
        stopping = threading.Thread(
            target=self.started.stop, args=(seconds,), name=f"stop {self.record.name}", daemon=True
        )
        stopping.start()
        return stopping

    def await_end(self) -> None:
        """Wait for its end and record the result."""
        end = self.started.await_end()
        self.record.exitCode = self.record.exit_code = end.exit_code
        if end.reason:
            self.record.reason = end.reason
        self.record.last_status = "STOPPED"


class TaskRunner:
    """Starts and stops the containers of tasks. `limit`: tasks at once, as a quota of the account; 0: any number."""

    def __init__(self, launcher: Launcher, rules: TaskRules | None = TASK_RULES, *, limit: int = 0) -> None:
        self.rules = rules
        self.limit = limit
        self._launcher = launcher
        self._running: dict[str, tuple[RunningContainer, ...]] = {}
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether ECS would refuse another task."""
        with self._lock:
            return bool(self.limit) and len(self._running) >= self.limit

    def start(self, task: Any, definitions: Sequence[Mapping[str, Any]]) -> None:
        """Start each container of a moto task and watch it. A container that fails to start ends the task."""
        running: list[RunningContainer] = []
        for record, definition in zip(task.containers, definitions, strict=True):
            order = container_order(task, definition)
            try:
                started = self._launcher.launch(order)
            except CannotStartError as exc:
                _not_started(task, record, running, str(exc))
                return
            log.info("task %s: %s started: %s", task.id, order.name, " ".join(order.command))
            record.last_status = "RUNNING"
            running.append(
                RunningContainer(
                    record=record,
                    started=started,
                    essential=definition.get("essential", True),
                    stop_timeout_s=float(definition.get("stopTimeout") or STOP_TIMEOUT_S),
                )
            )
        with self._lock:
            self._running[task.task_arn] = tuple(running)
        for container in running:
            threading.Thread(target=self._watch, args=(task, container), name=f"task {task.id}", daemon=True).start()
        if getattr(task, "stop_code", None):  # StopTask arrived while they were starting
            self.stop(task.task_arn)

    def stop(self, task_arn: str) -> None:
        """Stop every container. Returns at once; ignores a task that has ended."""
        with self._lock:
            running = self._running.get(task_arn, ())
        for container in running:
            container.stop()

    def stop_all(self, timeout_s: float) -> None:
        """End every task before the engine itself ends."""
        with self._lock:
            running = [container for containers in self._running.values() for container in containers]
        for stopping in [container.stop(timeout_s) for container in running]:
            stopping.join()

    def _watch(self, task: Any, container: RunningContainer) -> None:
        container.await_end()
        log.info("task %s: %s ended with exit code %d", task.id, container.record.name, container.record.exit_code)
        if container.essential and not getattr(task, "stop_code", None):
            task.stop_code, task.stopped_reason = "EssentialContainerExited", "Essential container in task exited"
            task.desired_status = "STOPPED"
            self.stop(task.task_arn)
        with self._lock:
            if any(c.last_status != "STOPPED" for c in task.containers):
                return
            self._running.pop(task.task_arn, None)
        _stopped(task)


def container_order(task: Any, definition: Mapping[str, Any]) -> ContainerOrder:
    """Settings of a container from its definition and the overrides of its task; overrides win."""
    overrides = (task.overrides or {}).get("containerOverrides", [])
    override: Mapping[str, Any] = next((o for o in overrides if o.get("name") == definition["name"]), {})
    variables = [*(definition.get("environment") or []), *(override.get("environment") or [])]
    return ContainerOrder(
        name=f"muster-task-{task.id}-{definition['name']}",
        image=definition["image"],
        command=tuple(override.get("command") or definition.get("command") or []),
        variables={"MUSTER_TASK_ARN": task.task_arn, **{v["name"]: v["value"] for v in variables}},
        memory_mb=int(override.get("memory") or definition.get("memory") or MEMORY_MB),
    )


def _not_started(task: Any, record: Any, running: Sequence[RunningContainer], why: str) -> None:
    for container in running:
        container.started.kill()
        container.await_end()
    record.reason = f"CannotStartContainerError: {why}"
    for other in task.containers:
        other.last_status = "STOPPED"
    task.stop_code, task.stopped_reason = "TaskFailedToStart", record.reason
    log.error("task %s: %s", task.id, record.reason)
    _stopped(task)


def _stopped(task: Any) -> None:
    task.desired_status = "STOPPED"
    task.process_status = "STOPPED"


def prune(tasks: dict[str, Any], kept: int = STOPPED_KEPT) -> None:
    """Forget the stopped tasks of a cluster except the last `kept`."""
    stopped = [arn for arn, task in tasks.items() if task.last_status == "STOPPED"]
    for arn in stopped[: len(stopped) - kept] if len(stopped) > kept else []:
        del tasks[arn]


def install(tasks: TaskRunner) -> None:
    """Make moto's RunTask and StopTask start and end containers."""
    forget_instances()  # a task that was pruned would stay in moto's list
    models: Any = importlib.import_module("moto.ecs.models")
    errors: Any = importlib.import_module("moto.ecs.exceptions")
    invalid, refused = errors.InvalidParameterException, errors.ECSException
    backend, moto_task, moto_container = models.EC2ContainerServiceBackend, models.Task, models.Container
    # moto iterates over its records in one request while another one adds to them.
    records = threading.RLock()

    run_task, stop_task = backend.run_task, backend.stop_task
    requirements = backend._calculate_task_resource_requirements  # noqa: SLF001

    def with_memory(definition: Any) -> Any:
        # moto requires memory per container; a Fargate definition has it at the level of the task.
        for container in definition.container_definitions:
            container.setdefault("memory", int(getattr(definition, "memory", None) or MEMORY_MB))
        return requirements(definition)

    def run(self: Any, cluster_str: str, task_definition_str: str, *args: Any, **options: Any) -> Any:
        overrides = options.get("overrides", args[1] if len(args) > 1 else None)
        if len(json.dumps(overrides)) > OVERRIDES_MAX:
            raise invalid(f"Container Overrides length must be at most {OVERRIDES_MAX}")
        if tasks.rules is not None and (why := tasks.rules.broken_by(overrides)):
            raise invalid(why)
        if tasks.is_full:
            raise refused("ThrottlingException", LIMIT_REACHED)
        with records:
            started = run_task(self, cluster_str, task_definition_str, *args, **options)
            prune(self.tasks[self._get_cluster(cluster_str).name])
        for task in started:
            definition = self.describe_task_definition(task.task_definition_arn)
            task.containers = [_record(moto_container, definition.arn, d) for d in definition.container_definitions]
            tasks.start(task, definition.container_definitions)
        return started

    def stop(self: Any, cluster_str: str, task_str: str, reason: str) -> Any:
        with records:
            for task in self.tasks.get(self._get_cluster(cluster_str).name, {}).values():
                if task.task_arn.endswith(task_str.rsplit("/", maxsplit=1)[-1]):
                    break
            else:
                raise invalid("The referenced task was not found.")
            if task.last_status == "STOPPED":
                return task
            task.stop_code = "UserInitiated"
            stopped = stop_task(self, cluster_str, task_str, reason)
        tasks.stop(task.task_arn)
        return stopped

    def serialized(method: Callable[..., Any]) -> Callable[..., Any]:
        def locked(*args: Any, **options: Any) -> Any:
            with records:
                return method(*args, **options)

        return locked

    # A task is RUNNING until its containers have ended; moto would advance it on each read.
    moto_task.advance = lambda _: None
    moto_task.process_status = "RUNNING"
    moto_task.last_status = property(lambda self: self.process_status, lambda _self, _value: None)
    backend._calculate_task_resource_requirements = staticmethod(with_memory)  # noqa: SLF001
    backend.run_task, backend.stop_task = run, stop
    describe_tasks = serialized(backend.describe_tasks)
    backend.describe_tasks = lambda *args, **options: [_as_it_is(task) for task in describe_tasks(*args, **options)]
    backend.list_tasks = serialized(backend.list_tasks)


def _as_it_is(task: Any) -> Any:
    """A task for an answer, which moto writes a field at a time: a task that ends meanwhile would be half of each.

    Its state is copied before its containers, which all have their exit codes once a task is STOPPED.
    """
    copied = copy.copy(task)
    copied.containers = [copy.copy(container) for container in task.containers]
    return copied


def _record(container: Any, arn: str, definition: Mapping[str, Any]) -> Any:
    """Create a container's record. moto creates one per task, from the first container of the definition."""
    record = container(SimpleNamespace(arn=arn, container_definitions=[definition]))
    record.exitCode = record.exit_code = None  # until it has ended; moto says 0
    return record
