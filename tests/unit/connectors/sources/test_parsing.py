"""The parsing child: its limits, its deaths, and how the parent reports them."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from connectors.sources import parsing
from connectors.sources.frames import FrameKind, FrameReader
from connectors.sources.job import ParseProgress
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import open_parsed
from connectors.sources.rejects import RejectBatch
from schemas.errors import RetriableError, UserError
from tests.unit.children import parser_memory, parsers
from tests.unit.connectors.sources.reading import parse_file, spec_of

ROWS = 600_000
MEMORY_BYTES = 100 << 20
"""Limit for reading a file of any size."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 MB: more than pipes and one block hold."""
    path = tmp_path_factory.mktemp("large") / "large.csv"
    with path.open("wb") as file:
        file.write(b"user_id,n\n")
        file.writelines(b"user-%027d,%d\n" % (i, i % 97) for i in range(ROWS))
    return path


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    assert parsers() == []


def child() -> psutil.Process:
    (only,) = parsers()
    return only


def test_rows_rejects_and_summary_add_up(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_bytes(b"user_id,n\na,1\n,2\nb,x\nc,3,\nd,4")
    found = parse_file(file, "n:long")
    assert found.rows == [(0, "a", 1), (4, "d", 4)]
    assert found.codes == [(1, "id_empty"), (2, "bad_value"), (3, "field_count")]
    assert found.summary is not None
    assert asdict(found.summary) == {
        "rows": 5,
        "accepted": 2,
        "rejected": 3,
        "rejected_by_code": {"bad_value": 1, "field_count": 1, "id_empty": 1},
        "source_bytes": 29,
        "decoded_bytes": 29,
        "format": "csv",
        "compression": "none",
        "lacking": None,
        "part": None,
    }


def test_large_file_arrives_complete_and_in_order_with_progress(large: Path) -> None:
    seen: list[ParseProgress] = []
    next_ordinal = 0
    with open_parsed(large, spec_of("n:long"), on_progress=seen.append) as parsed:
        for batch in parsed:
            assert not isinstance(batch, RejectBatch)
            assert batch.column(0).to_pylist() == list(range(next_ordinal, next_ordinal + batch.num_rows))
            next_ordinal += batch.num_rows
    assert next_ordinal == parsed.summary.accepted == ROWS
    assert seen[-1] == ParseProgress(
        source_bytes=large.stat().st_size, source_size=large.stat().st_size, rows=ROWS, rejected=0
    )


def test_leaving_early_ends_the_child_although_its_pipe_is_full(large: Path) -> None:
    with open_parsed(large, spec_of("n:long")) as parsed:
        next(iter(parsed))
        process = child()
    assert not process.is_running()
    with pytest.raises(RuntimeError):
        _ = parsed.summary


def test_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_parsed(tmp_path / "nope.csv", spec_of())
    assert caught.value.code == "SOURCE_GONE"


def test_unknown_time_zone_is_refused_before_the_start(large: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_parsed(large, spec_of(timezone="Mars/Olympus"))
    assert caught.value.code == "BAD_TIMEZONE"


@pytest.mark.parametrize(
    ("deadly", "error", "code"),
    [
        (signal.SIGSEGV, UserError, "PARSER_CRASHED"),
        (signal.SIGABRT, UserError, "PARSER_CRASHED"),
        (signal.SIGXCPU, UserError, "PARSER_TIMEOUT"),
        (signal.SIGKILL, RetriableError, "PARSER_KILLED"),
    ],
)
def test_child_killed_by_a_signal_is_reported_with_its_code(
    large: Path, deadly: signal.Signals, error: type[Exception], code: str
) -> None:
    with open_parsed(large, spec_of("n:long")) as parsed:
        batches = iter(parsed)
        next(batches)
        child().send_signal(deadly)
        with pytest.raises(error, match=code):
            drain(batches)


def test_stalled_child_is_ended(large: Path) -> None:
    with open_parsed(large, spec_of("n:long")) as parsed:
        batches = iter(parsed)
        next(batches)
        child().suspend()
        parsed._limits = ParseLimits(wall_s=0.5)  # only now: starting may take longer on a busy machine
        with pytest.raises(UserError, match="PARSER_TIMEOUT"):
            drain(batches)


class Clock:
    """The parent's clock; `nothing_yet`: no frame arrives while it waits for one."""

    ahead_s = 0.0
    nothing_yet = False

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


def test_slow_reader_is_not_a_stalled_child(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()

    class Late(FrameReader):
        def next_frame(self, timeout_s: float) -> tuple[FrameKind, bytearray] | None:
            nothing_yet, clock.nothing_yet = clock.nothing_yet, False
            return None if nothing_yet else super().next_frame(timeout_s)

    monkeypatch.setattr(parsing, "time", clock)
    monkeypatch.setattr(parsing, "FrameReader", Late)
    with open_parsed(large, spec_of("n:long")) as parsed:
        batches = iter(parsed)
        next(batches)
        clock.ahead_s = 10 * ParseLimits().wall_s
        clock.nothing_yet = True
        drain(batches)
    assert not clock.nothing_yet
    assert parsed.summary.accepted == ROWS


def test_exceeding_the_childs_memory_limit_is_a_user_error(large: Path) -> None:
    with (
        open_parsed(large, spec_of("n:long"), ParseLimits(memory_bytes=1 << 20)) as parsed,
        pytest.raises(UserError, match="PARSER_MEMORY"),
    ):
        drain(iter(parsed))


def test_exceeding_the_childs_processor_limit_is_a_user_error(tmp_path: Path) -> None:
    file = tmp_path / "slow.jsonl"
    file.write_bytes(b'{"user_id":"a","n":[[[[1,2,3],"x"],"y"],"z"]}\n' * 1_500_000)
    with (
        open_parsed(file, spec_of(), ParseLimits(cpu_s=1, cpu_s_per_mib=0)) as parsed,
        pytest.raises(UserError, match="PARSER_TIMEOUT"),
    ):
        drain(iter(parsed))


@pytest.mark.usefixtures("new_fork_server")
def test_the_child_sees_none_of_the_parents_secrets(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do not tell")
    monkeypatch.setenv("MUSTER_S3_SECRET_KEY", "nor this")
    with open_parsed(large, spec_of()) as parsed:
        next(iter(parsed))
        environment = child().environ()
    assert not {"AWS_SECRET_ACCESS_KEY", "MUSTER_S3_SECRET_KEY"} & environment.keys()
    assert "tell" not in "".join(environment.values())


PARENT = """
import pathlib, sys, time
from connectors.sources.parsing import open_parsed
from schemas.import_spec import ImportSpec
parsed = open_parsed(pathlib.Path(sys.argv[1]), ImportSpec())
next(iter(parsed))
print("ready", flush=True)
time.sleep(600)
"""


def test_a_killed_parent_takes_the_child_with_it(large: Path) -> None:
    root = Path(__file__).parents[4]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(large)], stdout=subprocess.PIPE, cwd=root)
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) == 2  # the fork server and its child
        parent.kill()
    gone, alive = psutil.wait_procs(family, timeout=60)
    assert (len(gone), alive) == (2, [])


def test_unclosed_quote_in_a_large_file_takes_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    with file.open("wb") as out:
        out.write(b'user_id,n\na,1\nb,"')
        for _ in range(256):
            out.write(b"never closed,\n" * (1 << 16))
    limits = ParseLimits(memory_bytes=parser_memory(MEMORY_BYTES))
    assert file.stat().st_size > MEMORY_BYTES
    with open_parsed(file, spec_of("n:long"), limits) as parsed:
        batches = iter(parsed)
        assert next(batches).num_rows == 1
        with pytest.raises(UserError) as caught:
            drain(batches)
    assert caught.value.code == "UNCLOSED_QUOTE"
    assert caught.value.detail == {"line": 3, "byte_offset": 16}


def drain(batches: Iterator[object]) -> None:
    for _ in batches:
        pass


DESCRIPTORS = """
import os, sys
from pathlib import Path
from connectors.sources.fork_server import PARSERS
from connectors.sources.parsing import open_parsed
from schemas.errors import UserError
from tests.unit.connectors.sources.reading import spec_of
large = Path(sys.argv[1])
PARSERS.prepare()  # its own stay
before = len(os.listdir("/proc/self/fd"))
for _ in range(3):
    with open_parsed(large, spec_of()) as parsed:
        next(iter(parsed))
    try:
        open_parsed(large, spec_of(format="parquet"))
    except UserError:
        continue
    sys.exit("a CSV file was taken for Parquet")
print(before, len(os.listdir("/proc/self/fd")))
"""


def test_descriptors_are_all_closed(large: Path) -> None:
    # In a separate process: threads left by other tests, such as those of Kafka clients, open descriptors at any time.
    done = subprocess.run(
        [sys.executable, "-c", DESCRIPTORS, str(large)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert after <= before


def test_a_parsed_file_is_read_once(large: Path) -> None:
    with open_parsed(large, spec_of()) as parsed:
        next(iter(parsed))
        with pytest.raises(RuntimeError, match="once"):
            next(iter(parsed))
