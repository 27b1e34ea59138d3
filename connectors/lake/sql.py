"""`muster sql`: one SELECT over audiences and rejects, in a sandbox.

DuckDB has no functions `audience('vip', version => 3, tenant => 'acme')` and `rejects('<job>')`. A child process
(`connectors.lake.sql_child`) parses the query, asks for the files behind these calls, and runs it over exactly these
files: no other objects, no local files, no network, no settings, no writes. DuckDB enforces that; below it the
operating system confines the child to its own files and to the port of the object store (`connectors.sandbox`). DuckDB
neither counts all of its memory nor checks the time inside a function, so the child has a hard memory limit and is
killed when its time is up.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from connectors import sandbox
from connectors.confinement import ONE_THREAD, child_environment, stderr_tail
from connectors.lake.sql_tree import AudienceCall, Call, RejectsCall
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from schemas.columns import RowSchema
from schemas.errors import FatalError, MusterError, UserError
from schemas.records import as_record, from_record

GRACE_S: Final = 2.0
"""Time for DuckDB to end a query after its timeout; then the child is killed."""
SQL: Final = "the process of a query"
SQL_ENVIRONMENT: Final = {**ONE_THREAD}
"""The child has one thread until it is confined."""
MEMORY_WORDS: Final = (b"bad_alloc", b"MemoryError", b"Cannot allocate memory", b"Out of Memory")

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """S3 URIs of the Parquet files behind a call. `schema=None` takes the columns from the files."""

    files: Sequence[str]
    schema: RowSchema | None


Resolve = Callable[[Call], Resolved]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Columns of the result, and its rows as they arrive: numbers, text, booleans and None; anything else as text."""

    names: tuple[str, ...]
    rows: Iterator[Row]


@contextmanager
def query(
    text: str,
    resolve: Resolve,
    *,
    s3: S3Access,
    limits: DuckLimits,
    timeout_s: float,
    sandbox_required: bool = False,
) -> Iterator[Answer]:
    """Run one SELECT. `sandbox_required`: refuse to run if the system cannot confine the child completely.

    Raises `UserError` BAD_SQL, SQL_TIMEOUT, SQL_TOO_BIG, SQL_CRASHED, also while rows are fetched, `RetriableError`
    LAKE_UNAVAILABLE, `FatalError` SANDBOX_INCOMPLETE, SQL_CRASHED, and what `resolve` raises.
    """
    limits.temp_directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="sql-", dir=limits.temp_directory) as temp,
        _child(timeout_s) as child,
    ):
        child.send(
            {
                "sql": text,
                "timeout_s": timeout_s,
                "sandbox_required": sandbox_required,
                "s3": as_record(s3.with_keys()),
                "limits": as_record(replace(limits, temp_directory=Path(temp))),
            }
        )
        answer = child.receive()
        sandbox.warn(SQL, sandbox.Layer(answer["missing"]))
        calls = [_call(record) for record in answer["calls"]]
        child.send({"views": [as_record(resolve(call)) for call in calls]})
        yield Answer(names=tuple(child.receive()["names"]), rows=_rows(child))


def _rows(child: "_Child") -> Iterator[Row]:
    while (rows := child.receive().get("rows")) is not None:
        yield from map(tuple, rows)


def _call(record: dict[str, Any]) -> Call:
    call: type[Call] = RejectsCall if "job" in record else AudienceCall
    return from_record(call, record)


class _Child:
    """The process that runs one query; the protocol is lines of JSON."""

    def __init__(self, process: "subprocess.Popen[bytes]", stderr: IO[bytes], timeout_s: float) -> None:
        self._process = process
        self._stderr = stderr
        self._timeout_s = timeout_s
        self._expired = threading.Event()
        self._timer = threading.Timer(timeout_s + GRACE_S, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def send(self, record: dict[str, Any]) -> None:
        """Send a line; if the child is dead, the next `receive` reports it."""
        assert self._process.stdin is not None  # noqa: S101  # a pipe
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(record).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The next line. Raises the error in it, or the error for the child's death."""
        assert self._process.stdout is not None  # noqa: S101  # a pipe
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._death()
        record: dict[str, Any] = json.loads(line)
        if "error" in record:
            raise MusterError.from_record(record["error"])
        return record

    def close(self) -> None:
        """Kill the child if it is still running."""
        self._timer.cancel()
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None  # noqa: S101  # a pipe
            with suppress(BrokenPipeError):  # unsent output
                stream.close()
        self._process.wait()

    def _expire(self) -> None:
        self._expired.set()
        self._process.kill()

    def _death(self) -> MusterError:
        code = self._process.wait()
        if self._expired.is_set():
            return timed_out(self._timeout_s)
        words = stderr_tail(self._stderr)
        if any(word in words for word in MEMORY_WORDS):
            return too_big("it was killed")
        detail = {"exit_code": code, "stderr": words.decode(errors="replace")}
        if code < 0:
            name = signal.Signals(-code).name
            return UserError("SQL_CRASHED", f"the query crashes DuckDB ({name}): rewrite it", **detail)
        return FatalError("SQL_CRASHED", f"the process of the query ended with exit code {code}", **detail)


@contextmanager
def _child(timeout_s: float) -> Iterator[_Child]:
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            # -P: the parent's current directory must not be on the import path.
            [sys.executable, "-P", "-m", "connectors.lake.sql_child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=child_environment() | SQL_ENVIRONMENT,  # no credentials: DuckDB would use them as settings
        )
        child = _Child(process, stderr, timeout_s)
        try:
            yield child
        finally:
            child.close()


def timed_out(timeout_s: float) -> UserError:
    """The query took too long."""
    return UserError("SQL_TIMEOUT", f"the query took longer than {timeout_s:g} s", timeout_s=timeout_s)


def too_big(why: str) -> UserError:
    """The query took too much memory."""
    return UserError("SQL_TOO_BIG", f"the query needs more memory than it is allowed: {why}")
