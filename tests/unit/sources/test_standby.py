"""The parser's process that is started before its file: the same rows, a process of its own for each file."""

import os
import signal
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import open_parsed
from connectors.sources.standby import STANDBY
from schemas.errors import UserError
from tests.unit.children import parsers, unreaped
from tests.unit.sources.reading import parse_file, spec_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """More than pipes hold: its process lives until the rows are read."""
    path = tmp_path / "f.csv"
    path.write_bytes(b"user_id,n\na,1\n,2\nb,x\n" + b"".join(b"user-%027d,7\n" % k for k in range(100_000)))
    return path


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    yield
    STANDBY.stop()
    assert (waiting(), unreaped()) == (set(), [])


def waiting() -> set[int]:
    return {process.pid for process in parsers()}


def test_a_file_gets_the_process_that_waits_and_the_same_rows(file: Path) -> None:
    expected = parse_file(file, "n:long")
    STANDBY.prepare()
    STANDBY.await_ready()
    (pid,) = waiting()
    with open_parsed(file, spec_of("n:long")) as parsed:
        assert waiting() == {pid}
        found = [batch.to_pylist() for batch in parsed if hasattr(batch, "to_pylist")]
    assert [tuple(row.values()) for rows in found for row in rows] == expected.rows
    assert parsed.summary == expected.summary
    assert waiting() == set()


def test_a_process_that_waits_has_loaded_what_reads_files_and_nothing_that_others_have_installed() -> None:
    assert find_spec("pandas") is not None  # pyarrow would load it
    STANDBY.prepare()
    STANDBY.await_ready()
    (pid,) = waiting()
    loaded = Path(f"/proc/{pid}/maps").read_text()
    assert "/pyarrow/" in loaded
    assert "/pandas/" not in loaded


def test_each_file_gets_a_process_that_has_seen_no_other(file: Path) -> None:
    STANDBY.keep()
    seen = set()
    for _ in range(3):
        with open_parsed(file, spec_of("n:long")) as parsed:
            seen |= waiting()
            list(parsed)
        assert len(waiting()) == 1
    assert len(seen | waiting()) == 4


def test_a_waiting_process_that_has_died_is_replaced(file: Path) -> None:
    STANDBY.keep()
    STANDBY.await_ready()
    (pid,) = waiting()
    os.kill(pid, signal.SIGKILL)
    while psutil.pid_exists(pid):  # until it has been reaped, which is not for the test to do
        time.sleep(0.01)
    assert len(parse_file(file, "n:long").rows) == 100_001


def test_the_limits_hold_for_a_process_that_was_started_before_they_were_known(file: Path) -> None:
    STANDBY.prepare()
    STANDBY.await_ready()
    with (
        open_parsed(file, spec_of("n:long"), ParseLimits(memory_bytes=1 << 20)) as parsed,
        pytest.raises(UserError, match="PARSER_MEMORY"),
    ):
        list(parsed)


def test_a_file_that_is_refused_before_it_is_parsed_leaves_the_process_waiting(tmp_path: Path) -> None:
    STANDBY.prepare()
    before = waiting()
    with pytest.raises(UserError, match="SOURCE_GONE"):
        open_parsed(tmp_path / "nope.csv", spec_of())
    assert waiting() == before
