"""The fork server of parsers: the same rows, a separate process for each file, and every death reported."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from connectors.confinement import PACKAGE_ROOT
from connectors.fork_server import child_process, owner
from connectors.fork_server.child_process import ChildProcess
from connectors.sources import fork_server
from connectors.sources.fork_server import PARSERS
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import open_parsed
from schemas.errors import FatalError, RetriableError, UserError
from tests.unit.children import fork_servers, parsers
from tests.unit.connectors.sources.reading import parse_file, spec_of
from tests.waiting import until

ROWS = 100_000
MIB = 1 << 20


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file larger than the pipes hold, so its process lives until the rows are read."""
    return file_of(ROWS, tmp_path_factory.mktemp("file"))


def file_of(rows: int, folder: Path) -> Path:
    path = folder / "f.csv"
    path.write_bytes(b"user_id,n\n,2\nb,x\n" + b"".join(b"user-%027d,7\n" % k for k in range(rows)))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.csv"
    path.write_bytes(b"user_id,n\na,1\n,2\nb,x\n")
    return path


@pytest.fixture(scope="module", autouse=True)
def _own_server() -> Iterator[None]:
    """Start without another module's server; after the last test nothing may be left."""
    PARSERS.stop()
    yield
    PARSERS.stop()
    assert fork_servers() == []


@pytest.fixture(autouse=True)
def server() -> Iterator[psutil.Process]:
    """A server that has loaded everything: the previous test's, if it is still alive."""
    PARSERS.prepare()
    PARSERS.await_ready()
    (server,) = fork_servers()
    yield server
    assert parsers() == []


def ended(process: psutil.Process) -> bool:
    """Wait for the end of a process; a zombie counts as ended."""
    gone, _ = psutil.wait_procs([process], timeout=60)
    return bool(gone)


def test_each_file_has_its_own_process_and_the_server_opens_none(file: Path, server: psutil.Process) -> None:
    expected = parse_file(file, "n:long")
    seen = set()
    for _ in range(3):
        with open_parsed(file, spec_of("n:long")) as parsed:
            (child,) = parsers()
            seen.add(child.pid)
            assert str(file) not in {opened.path for opened in server.open_files()}
            found = [batch.to_pylist() for batch in parsed if hasattr(batch, "to_pylist")]
        assert [tuple(row.values()) for rows in found for row in rows] == expected.rows
        assert parsed.summary == expected.summary
        assert not child.is_running()
    assert len(seen) == 3
    assert [process.pid for process in fork_servers()] == [server.pid]


def test_concurrent_files_are_isolated(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.csv" for number in range(24)]
    for number, path in enumerate(files):
        path.write_text("user_id,n\n" + f"u,{number}\n" * 10_000)
    with ThreadPoolExecutor(8) as readers:
        read = list(readers.map(lambda path: parse_file(path, "n:long").rows, files))
    assert [{(len(rows), n) for _, _, n in rows} for rows in read] == [{(10_000, n)} for n in range(24)]


def test_fork_server_preloads_the_readers_and_nothing_foreign(
    server: psutil.Process,
) -> None:
    assert find_spec("pandas") is not None  # pyarrow would load it
    loaded = Path(f"/proc/{server.pid}/maps").read_text()
    assert "/pyarrow/" in loaded
    assert "/pandas/" not in loaded
    assert server.num_threads() == 1


def test_child_inherits_no_descriptors(file: Path, server: psutil.Process) -> None:
    with open_parsed(file, spec_of("n:long")) as first, open_parsed(file, spec_of("n:long")) as second:
        for parsed in (first, second):
            next(iter(parsed))
        children = parsers()
        assert len(children) == 2
        for child in children:
            opened = [str(fd.readlink()).partition(":")[0] for fd in Path(f"/proc/{child.pid}/fd").iterdir()]
            unnamed = [name for name in opened if name.endswith(" (deleted)")]
            assert len(unnamed) == 2  # output and errors, in one file
            assert sorted({*opened} - {*unnamed}) == ["/dev/null", str(file), "pipe"]
            assert len(opened) == 5


def test_server_retains_no_file_data(small: Path, server: psutil.Process) -> None:
    before = server.num_fds()
    for _ in range(50):
        parse_file(small, "n:long")
    until(lambda: server.num_fds() == before)  # the last child's end is reported before its descriptors are closed


def test_dead_server_is_replaced(small: Path, server: psutil.Process) -> None:
    server.kill()
    assert ended(server)
    assert parse_file(small, "n:long").rows == [(0, "a", 1)]


def test_server_death_ends_its_children_and_is_reported(file: Path, server: psutil.Process) -> None:
    with open_parsed(file, spec_of("n:long")) as parsed:
        batches = iter(parsed)
        next(batches)
        (child,) = parsers()
        server.kill()
        assert ended(child)  # while the server's death takes its time, the child goes on, and might finish
        with pytest.raises(RetriableError, match="PARSER_KILLED"):
            list(batches)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a server has been asked for a child."""
    event = threading.Event()

    def begin(self: ChildProcess, begin: Callable[[ChildProcess], bool] = ChildProcess.begin) -> bool:
        event.set()
        return begin(self)

    monkeypatch.setattr(ChildProcess, "begin", begin)
    return event


@pytest.mark.parametrize("end", [lambda server: server.kill(), lambda _: PARSERS.stop()], ids=["killed", "stopped"])
def test_server_ending_during_a_request_is_reported(
    small: Path, server: psutil.Process, asked: threading.Event, end: Callable[[psutil.Process], None]
) -> None:
    server.suspend()
    with ThreadPoolExecutor(1) as asking:
        opened = asking.submit(open_parsed, small, spec_of())
        assert asked.wait(60)
        end(server)
        with pytest.raises(RetriableError, match="PARSER_KILLED"):
            opened.result()


def test_unresponsive_server_is_ended(small: Path, server: psutil.Process, monkeypatch: pytest.MonkeyPatch) -> None:
    server.suspend()
    with monkeypatch.context() as patched:
        patched.setattr(child_process, "START_TIMEOUT_S", 0.2)
        with pytest.raises(RetriableError, match="PARSER_KILLED"):
            open_parsed(small, spec_of())
    assert ended(server)
    assert parse_file(small, "n:long").rows == [(0, "a", 1)]


@pytest.mark.usefixtures("new_fork_server")
def test_server_start_failure_is_reported_with_its_output(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fork_server.PARSER_ENVIRONMENT, "PYTHONHOME", "/nowhere")
    with pytest.raises(FatalError, match="PARSER_FAILED") as raised:
        open_parsed(small, spec_of())
    assert "init_fs_encoding" in str(raised.value.detail["stderr"])


@pytest.mark.usefixtures("new_fork_server")
def test_server_load_failure_is_reported_with_its_output(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['connectors.sources.csv_reader'] = None\n")
    monkeypatch.setitem(fork_server.PARSER_ENVIRONMENT, "PYTHONPATH", f"{tmp_path}:{PACKAGE_ROOT}")
    with pytest.raises(FatalError, match="PARSER_FAILED") as raised:
        open_parsed(small, spec_of())
    assert "import of connectors.sources.csv_reader halted" in str(raised.value.detail["stderr"])


ENDS_LATE = """
import os, sys, time
sys.modules['connectors.sources.csv_reader'] = None
def end(code, end=os._exit):
    os.closerange(3, 1024)  # the kernel closes what is open before the process can be waited for
    while not os.path.exists({released!r}):
        time.sleep(0.01)
    end(code)
os._exit = end
"""


@pytest.mark.usefixtures("new_fork_server")
def test_server_with_closed_sockets_may_finish_before_judgement(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = tmp_path / "released"
    (tmp_path / "sitecustomize.py").write_text(ENDS_LATE.format(released=str(released)))
    monkeypatch.setitem(fork_server.PARSER_ENVIRONMENT, "PYTHONPATH", f"{tmp_path}:{PACKAGE_ROOT}")

    def wait(
        self: subprocess.Popen[bytes],
        timeout: float | None = None,
        wait: Callable[[subprocess.Popen[bytes], float | None], int] = subprocess.Popen.wait,
    ) -> int:
        released.touch()
        return wait(self, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    with pytest.raises(FatalError, match="PARSER_FAILED") as raised:
        open_parsed(small, spec_of())
    assert "import of connectors.sources.csv_reader halted" in str(raised.value.detail["stderr"])


@pytest.mark.usefixtures("new_fork_server")
def test_lingering_server_with_closed_sockets_is_ended(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(ENDS_LATE.format(released=str(tmp_path / "never")))
    monkeypatch.setitem(fork_server.PARSER_ENVIRONMENT, "PYTHONPATH", f"{tmp_path}:{PACKAGE_ROOT}")
    monkeypatch.setattr(owner, "EXIT_TIMEOUT_S", 0.2)
    with pytest.raises(RetriableError, match="PARSER_KILLED"):
        open_parsed(small, spec_of())


def test_thread_waiting_for_a_child_blocks_no_other(server: psutil.Process) -> None:
    child = PARSERS.fork()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(child.wait)
        assert not child.wait(0.01)
        assert server.is_running()
        child.kill()
        assert waiting.result(60)
    assert (child.wait(0), child.exit_code) == (True, -9)
    child.close()


OWNER = """
import sys, time
from connectors.sources.fork_server import PARSERS
PARSERS.prepare()
{wait}
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("wait", ["PARSERS.await_ready()", "PARSERS.fork()", ""], ids=["ready", "has forked", "loads"])
def test_a_killed_owner_takes_the_server_with_it(wait: str) -> None:
    command = [sys.executable, "-c", OWNER.format(wait=wait)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PACKAGE_ROOT) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        family = psutil.Process(owner.pid).children(recursive=True)
        assert family
        owner.kill()
    assert psutil.wait_procs(family, timeout=60)[1] == []


@pytest.mark.parametrize("left", [1, 2, 3])
def test_failed_fork_is_reported_and_other_files_continue(
    file: Path, small: Path, server: psutil.Process, left: int
) -> None:
    with open_parsed(file, spec_of("n:long")) as parsed:
        batches = iter(parsed)
        next(batches)
        opened = {int(fd.name) for fd in Path(f"/proc/{server.pid}/fd").iterdir()}
        soft, hard = server.rlimit(psutil.RLIMIT_NOFILE)
        # free descriptors for what comes with the request, or for part of it
        room = sorted(set(range(len(opened) + 3)) - opened)[:left]
        server.rlimit(psutil.RLIMIT_NOFILE, (room[-1] + 1, hard))
        with pytest.raises(OSError, match="Too many open files"):
            open_parsed(small, spec_of())
        server.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
        list(batches)
        assert parse_file(small, "n:long").rows == [(0, "a", 1)]
    assert parsed.ended


def test_peak_memory_of_a_child_excludes_its_parent(tmp_path: Path, small: Path) -> None:
    peaks = []
    for path in (small, file_of(6 * ROWS, tmp_path), small):
        with open_parsed(path, spec_of("n:long")) as parsed:
            list(parsed)
        peaks.append(parsed.peak_bytes)
    few, many, few_again = peaks
    assert 20 * MIB < few < many - 5 * MIB
    assert few_again < many - 5 * MIB


def test_child_limits_hold_under_an_unlimited_server(file: Path) -> None:
    with (
        open_parsed(file, spec_of("n:long"), ParseLimits(memory_bytes=1 << 20)) as parsed,
        pytest.raises(UserError, match="PARSER_MEMORY"),
    ):
        list(parsed)
