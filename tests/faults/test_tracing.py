"""System calls kill a process, or fail, where a test asks for it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import unavailable
from tests.faults.tracing import STRACE_OPTIONS, Tracer, available, fail_with, hits, kill_at

WRITER = """
import os, sys
sys.stdin.readline()
for number in range(6):
    try:
        os.pwrite(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), b"x", number)
        os.write(1, b"%d\\n" % number)
    except OSError as exc:
        os.write(1, b"%d\\n" % exc.errno)
"""


@pytest.fixture(autouse=True)
def _strace() -> None:
    if why := available():
        unavailable(why)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Waits for a line, then writes six bytes to a file and reports each on a line."""
    argv = [sys.executable, "-c", WRITER, str(tmp_path / "file")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_running_process_dies_at_its_kth_write(writer: subprocess.Popen[str], tmp_path: Path) -> None:
    with Tracer([writer.pid], kill_at(3), tmp_path / "log") as tracer:
        out, _ = writer.communicate("go\n", timeout=120)
    assert (out, writer.returncode) == ("0\n1\n", -9)
    assert (tmp_path / "file").read_bytes() == b"xx"
    assert tracer.hits() == 1


def test_chosen_number_of_writes_fails_and_the_process_survives(writer: subprocess.Popen[str], tmp_path: Path) -> None:
    with Tracer([writer.pid], fail_with("ENOSPC", 2, 3), tmp_path / "log") as tracer:
        out, _ = writer.communicate("go\n", timeout=120)
    assert (out, writer.returncode) == ("0\n28\n28\n28\n4\n5\n", 0)
    assert tracer.hits() == 3


def test_released_process_continues(writer: subprocess.Popen[str], tmp_path: Path) -> None:
    with Tracer([writer.pid], kill_at(1), tmp_path / "log") as tracer:
        pass
    out, _ = writer.communicate("go\n", timeout=120)
    assert (len(out.splitlines()), writer.returncode, tracer.hits()) == (6, 0, 0)


def test_a_process_that_is_started_under_strace_dies_at_its_kth_write(tmp_path: Path) -> None:
    log = tmp_path / "log"
    argv = [*STRACE_OPTIONS, "-o", str(log), *kill_at(2).split(), sys.executable, "-c", WRITER, str(tmp_path / "file")]
    done = subprocess.run(argv, input="go\n", capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.returncode, hits(log)) == ("0\n", -9, 1)


def test_injection_refused_by_strace_is_an_error(writer: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="invalid inject"), Tracer([writer.pid], kill_at(70_000), tmp_path / "log"):
        pass
