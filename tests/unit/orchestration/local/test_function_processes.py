"""Where the engine gets function processes from, and how they end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestration.local import processes
from orchestration.local.engine import lambda_processes
from orchestration.local.engine.lambda_processes import FunctionProcesses, StartedProcess
from orchestration.local.engine.server import FUNCTIONS_WARM
from orchestration.local.processes import HOME_MARK
from tests.conftest import stack_environment
from tests.contract.lambda_runners import LocalRunner, function_processes
from tests.waiting import until

HANDLERS = "tests.contract.lambda_handlers"


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[FunctionProcesses]:
    env = stack_environment({HOME_MARK: str(tmp_path)})
    with function_processes(HANDLERS, env, tmp_path) as made:
        yield made
    assert processes.marked(tmp_path) == []


def is_server(process: psutil.Process) -> bool:
    try:
        return lambda_processes.SERVER in process.cmdline()
    except psutil.NoSuchProcess:  # already ended, such as a process that another test did not wait for
        return False


def server() -> psutil.Process:
    (found,) = [p for p in psutil.Process().children() if is_server(p)]
    return found


def call(functions: FunctionProcesses, handler: str, event: Any, **limits: int) -> Any:
    with LocalRunner(functions, f"{HANDLERS}.{handler}", **{"timeout_s": 20, "memory_mb": 256, **limits}) as function:
        answer = function.invoke(event)
        return answer.error or answer.result


REPLACED = "starting another fork server: the fork server of the functions ended by a signal (killed): "


def test_death_of_the_fork_server_ends_its_functions_and_is_recovered(
    functions: FunctionProcesses, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marker = tmp_path / "started"
    with LocalRunner(functions, f"{HANDLERS}.describe", timeout_s=20, memory_mb=256) as function:
        idle, first = pid_of(function), server()
        with ThreadPoolExecutor(1) as pool:
            event = {"megabytes": 1, "seconds": 600, "started": str(marker)}
            running = pool.submit(call, functions, "take_memory", event)
            until(marker.exists)
            first.kill()
            assert running.result()["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
        until(lambda: has_ended(first.pid) and has_ended(idle))
        assert pid_of(function) != idle  # the idle process ended with its server, and is not reused
    assert server().pid != first.pid
    assert REPLACED + "it printed nothing" in caplog.messages


def test_server_killed_during_a_request_is_replaced(
    functions: FunctionProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    call(functions, "echo", 1)
    first = server()
    first.suspend()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(call, functions, "echo", 2)
        until(functions._forks._lock.locked)
        first.kill()
        assert asked.result() == 2
    assert server().pid != first.pid
    assert caplog.messages == [REPLACED + "it printed nothing"]


@pytest.mark.parametrize(
    ("warm", "why"),
    [
        ("tests.no_such_module", "ModuleNotFoundError: No module named 'tests.no_such_module'"),
        (f"{__name__}", "ThreadsError: tests.unit.orchestration.local.test_function_processes.warm() leaves 2 threads"),
    ],
)
def test_unforkable_functions_are_started_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, warm: str, why: str
) -> None:
    with function_processes(warm, stack_environment({HOME_MARK: str(tmp_path)}), tmp_path) as functions:
        with LocalRunner(functions, f"{HANDLERS}.describe", timeout_s=20, memory_mb=256) as function:
            started = pid_of(function)
            assert lambda_processes.WORKER in psutil.Process(started).cmdline()
            assert pid_of(function) == started
        assert call(functions, "sleep", {"seconds": 600}, timeout_s=1)["errorType"] == "Sandbox.Timedout"
        assert call(functions, "leave", {})["errorMessage"].endswith("exit status 7")
        with LocalRunner(functions, f"{HANDLERS}.describe", timeout_s=20, memory_mb=256) as function:
            os.kill(killed := pid_of(function), signal.SIGKILL)
            until(lambda: has_ended(killed))
            assert function.invoke({"names": []}).error is None
    (said,) = [message for message in caplog.messages if "without a fork server" in message]
    assert "starting functions without a fork server: the fork server of the functions ended with code 1: " in said
    assert why in said
    assert processes.marked(tmp_path) == []


def test_ended_function_does_not_end_a_later_owner_of_its_pid(tmp_path: Path) -> None:
    spawner = processes.Spawner()
    started = StartedProcess(spawner, stack_environment({}), tmp_path / "log")
    ended = started._process
    ended.kill()
    ended.wait(60)
    later = spawner.spawn(["sleep", "600"], env=os.environ)
    ended.pid = later.pid
    started.end()
    later.terminate()
    assert later.wait(60) == -signal.SIGTERM


def test_children_of_a_function_end_with_it(functions: FunctionProcesses, tmp_path: Path) -> None:
    child = tmp_path / "child"
    assert call(functions, "leave_a_child", {"pid": str(child)})["errorMessage"].endswith("exit status 7")
    until(lambda: has_ended(int(child.read_text())))


def test_function_state_is_discarded(functions: FunctionProcesses) -> None:
    call(functions, "echo", 1)
    forking, own = server(), psutil.Process()
    until(lambda: forking.children() == [])
    before = forking.num_fds(), own.num_fds()
    for _ in range(10):
        call(functions, "leave", {})
    until(lambda: forking.num_fds() <= before[0] and own.num_fds() <= before[1] and forking.children() == [])
    assert forking.num_threads() == 1


def test_function_inherits_no_descriptors(functions: FunctionProcesses) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            function = LocalRunner(functions, f"{HANDLERS}.describe", timeout_s=20, memory_mb=256)
            last = pid_of(stack.enter_context(function))
        opened = [str(fd.readlink()) for fd in Path(f"/proc/{last}/fd").iterdir()]
    names = sorted("socket" if name.startswith("socket:") else Path(name).name for name in opened)
    assert names == ["lambda.log", "lambda.log", "null", "socket"]


OWNER = """
import sys, time
from pathlib import Path
from tests.unit.orchestration.local.test_function_processes import HANDLERS, LocalRunner, function_processes, pid_of
with function_processes(HANDLERS, {env!r}, Path({folder!r})) as functions:
    function = LocalRunner(functions, HANDLERS + ".describe", timeout_s=20, memory_mb=256)
    print(pid_of(function), flush=True)
    time.sleep(600)
"""


def test_functions_end_with_the_engine(tmp_path: Path) -> None:
    env = stack_environment({HOME_MARK: str(tmp_path)})
    source = OWNER.format(env=env, folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, env=env, text=True) as engine:
        assert engine.stdout is not None
        function = int(engine.stdout.readline())
        assert function in {process.pid for process in processes.marked(tmp_path)}  # `muster down` finds it too
        engine.kill()
    until(lambda: processes.marked(tmp_path) == [])


def test_fork_server_of_functions_preloads_modules_in_one_thread(tmp_path: Path) -> None:
    with function_processes(FUNCTIONS_WARM, stack_environment({}), tmp_path) as functions:
        query = call(functions, "query", {}, memory_mb=512)
        assert server().num_threads() == 1
    assert query == {"answer": [[45]], "loaded_before": True}


def warm() -> None:
    """Do what a library imported for functions might do."""
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def pid_of(function: LocalRunner) -> int:
    pid, _ = function.invoke({"names": []}).result["process"]
    return int(pid)


def has_ended(pid: int) -> bool:
    """True also for a process that was not waited for."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
