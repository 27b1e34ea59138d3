"""Children: tied to their parent, reliably stopped, found by their mark."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from orchestration.local import processes

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def test_child_that_ignores_sigterm_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    output = tmp_path / "log"
    child = processes.spawn([sys.executable, "-c", DEAF], env=os.environ, output=output)
    while processes.tail(output) != ("deaf",):
        time.sleep(0.02)

    processes.stop(child, timeout_s=0.1)

    assert child.returncode == -signal.SIGKILL


def test_orphans_of_a_child_are_killed_but_no_later_owner_of_its_pid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pid"
    leaving = processes.spawn(["sh", "-c", f"sleep 600 & echo $! > {file}"], env=os.environ)
    leaving.wait(60)
    left = psutil.Process(int(file.read_text()))
    processes.stop(leaving, timeout_s=0.1)
    left.wait(60)

    signalled: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda pid, _: signalled.append(pid))
    leaving.pid = os.getpid()
    processes.stop(leaving, timeout_s=0.1)
    assert not signalled


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys, time\nfrom orchestration.local import processes\n"
        "child = processes.spawn([sys.executable, '-c', 'import time; time.sleep(600)'], env=os.environ)\n"
        "pathlib.Path(sys.argv[1]).write_text(str(child.pid))\ntime.sleep(600)"
    )
    file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", code, str(file)])
    while not (file.exists() and file.read_text()):
        time.sleep(0.02)
    child = psutil.Process(int(file.read_text()))

    parent.kill()
    parent.wait()

    child.wait(60)
    assert not child.is_running()


def test_marked_processes_are_found_and_ended(tmp_path: Path) -> None:
    env = {**os.environ, processes.HOME_MARK: str(tmp_path)}
    child = processes.spawn([sys.executable, "-c", "import time; time.sleep(600)"], env=env)
    while [p.pid for p in processes.marked(tmp_path)] != [child.pid]:
        time.sleep(0.02)

    assert processes.end_all(processes.marked(tmp_path), timeout_s=5) == 1

    child.wait(60)
    assert processes.marked(tmp_path) == []


def test_process_is_found_during_exec(tmp_path: Path) -> None:
    again = tmp_path / "again.sh"
    again.write_text('exec sh "$0"\n')
    child = processes.spawn(["sh", str(again)], env={**os.environ, processes.HOME_MARK: str(tmp_path)})
    while not processes.marked(tmp_path):
        time.sleep(0.02)

    found = [[p.pid for p in processes.marked(tmp_path)] for _ in range(60)]
    processes.stop(child, timeout_s=0.1)

    assert found == [[child.pid]] * 60


def test_large_log_is_rotated_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 3)
    log = tmp_path / "part.log"
    log.write_text("full")

    processes.rotate(log)

    assert not log.exists()
    assert (tmp_path / "part.log.1").read_text() == "full"
