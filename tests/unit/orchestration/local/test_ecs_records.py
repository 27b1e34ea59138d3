"""Tasks and moto's records of them, with containers that end at once or when stopped."""

import json
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.local.engine.ecs_tasks import TaskRunner, prune
from orchestration.local.engine.task_launch import ContainerEnd, ContainerOrder
from tests.waiting import until

THREADS = 4
TASKS = """
import gc, json, sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from moto.ecs.models import Task, ecs_backends
from orchestration.local.engine import ecs_tasks

def end_at_once(task, definitions):
    task.process_status = "STOPPED"

runner = SimpleNamespace(start=end_at_once, stop=None, rules=None, is_full=False)
ecs_tasks.install(runner)
backend = ecs_backends["123456789012"]["us-east-1"]
backend.create_cluster("c")
container = {"name": "main", "image": "i", "memory": 1}
backend.register_task_definition("f", [container])
sys.setswitchinterval(1e-6)

def run_and_look(_):
    [task] = backend.run_task("c", "f", 1, None, None, None, launch_type="FARGATE")
    return [t.task_arn for t in backend.describe_tasks("c", [task.task_arn])] == [task.task_arn]

with ThreadPoolExecutor(int(sys.argv[2])) as pool:
    seen = list(pool.map(run_and_look, range(int(sys.argv[1]))))
kept, in_memory = len(backend.list_tasks("c")), sum(isinstance(one, Task) for one in gc.get_objects())

def start(task, definitions):
    task.containers[0].last_status, task.process_status = "RUNNING", "RUNNING"

runner.start = start
[task] = backend.run_task("c", "f", 1, None, None, None, launch_type="FARGATE")
[answer] = backend.describe_tasks("c", [task.task_arn])
task.containers[0].exit_code, task.containers[0].last_status, task.process_status = 0, "STOPPED", "STOPPED"
container = answer.containers[0]
shown = {"seen": all(seen), "kept": kept, "in_memory": in_memory}
print(json.dumps({**shown, "answer": [answer.last_status, container.last_status, container.exit_code]}))
"""


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """What a process with moto's records has printed."""
    done = subprocess.run(
        [sys.executable, "-c", TASKS, "600", str(THREADS)], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


def test_running_and_last_stopped_tasks_are_kept() -> None:
    tasks = {str(n): SimpleNamespace(last_status="RUNNING" if n % 4 == 0 else "STOPPED") for n in range(12)}

    prune(tasks, kept=2)

    assert list(tasks) == ["0", "4", "8", "10", "11"]


def test_tasks_of_one_request_are_found_and_later_forgotten(shown: dict[str, Any]) -> None:
    assert shown["seen"]
    # the last prune may have run while the other threads' tasks were running
    assert 500 <= shown["kept"] == shown["in_memory"] <= 500 + THREADS


def test_task_that_ends_during_an_answer_is_reported_consistently(shown: dict[str, Any]) -> None:
    assert shown["answer"] == ["RUNNING", "RUNNING", None]


class InMemoryContainer:
    """Runs until it is stopped."""

    def __init__(self) -> None:
        self._ended = threading.Event()

    def stop(self, timeout_s: float) -> None:
        del timeout_s
        self._ended.set()

    def kill(self) -> None:
        self._ended.set()

    def await_end(self) -> ContainerEnd:
        assert self._ended.wait(60)
        return ContainerEnd(exit_code=143)


class SlowLauncher:
    """Gets StopTask while it starts the container."""

    def __init__(self, task: SimpleNamespace) -> None:
        self._task = task
        self.runner = TaskRunner(self)

    def launch(self, order: ContainerOrder) -> InMemoryContainer:
        del order
        self._task.stop_code = "UserInitiated"
        self.runner.stop(self._task.task_arn)
        return InMemoryContainer()


def test_task_stopped_while_starting_ends() -> None:
    main = SimpleNamespace(name="main", last_status="PENDING")
    task = SimpleNamespace(id="1", task_arn="arn", overrides={}, containers=[main], stop_code=None)

    SlowLauncher(task).runner.start(task, [{"name": "main", "image": "muster:local"}])

    until(lambda: main.last_status == "STOPPED")
    assert main.exit_code == 143
