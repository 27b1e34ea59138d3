"""`muster sql`: one SELECT over a tenant's data, in a sandbox.

DuckDB has no functions such as `audience('vip', version => 3, tenant => 'acme')` (`sql_tree.USAGE` lists them). A child
process (`connectors.lake.sql_child`) parses the query, asks for the files behind these calls, and runs it over exactly
these files: no other objects, no local files, no network, no settings, no writes. DuckDB enforces that; below it the
operating system confines the child to its own files and to the port of the object store (`connectors.sandbox`). DuckDB
neither counts all of its memory nor checks the time inside a function, so the child has a hard memory limit and is
killed when its time is up. It is forked from a process that has loaded what it needs, but neither DuckDB nor a query
(`connectors.lake.sql_server`).
"""

import atexit
import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final, get_args

from connectors import sandbox
from connectors.confinement import ONE_THREAD, child_environment
from connectors.fork_server.child_process import ChildProcess
from connectors.fork_server.owner import Forks, ForkServerDiedError
from connectors.lake.sql_tree import Call
from connectors.storage.access import S3Access
from connectors.storage.duck_limits import DuckLimits
from schemas.columns import Column, RowSchema
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from schemas.records import as_record, from_record

GRACE_S: Final = 2.0
"""Time for DuckDB to end a query after its timeout; then the child is killed."""
SQL: Final = "the process of a query"
SQL_ENVIRONMENT: Final = {**ONE_THREAD}
"""The child has one thread until it is confined."""
RESULT: Final = "result.parquet"
"""Name of the file that a query writes, in the folder of its child."""
MEMORY_WORDS: Final = (b"bad_alloc", b"MemoryError", b"Cannot allocate memory", b"Out of Memory")

CALLS: Final = {call.__name__: call for call in get_args(Call)}

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableQuery:
    """A table that the child fills before it is locked down. `parameters`: texts, numbers and booleans."""

    name: str
    sql: str
    parameters: Sequence[str | int | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """S3 URIs of the Parquet files behind a call. `schema=None` takes the columns from the files.

    `sql`: instead of all rows of the files, a SELECT over them and over `tables`, which are filled in this order.
    """

    files: Sequence[str]
    schema: RowSchema | None = None
    sql: str | None = None
    tables: Sequence[TableQuery] = ()


Resolve = Callable[[Call], Resolved]
Stop = Callable[[], None]
WhileRunning = Callable[[Stop], AbstractContextManager[None]]
"""Given what stops the query, a context that lasts as long as it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Columns of the result with their DuckDB types, and its rows as they arrive.

    Values are numbers, text, booleans and None; anything else is text.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: Iterator[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The result of a query as a Parquet file, which ends with its context: `user_id`, then `columns`."""

    file: Path
    columns: tuple[Column, ...]
    rows: int


@contextmanager
def query(
    text: str,
    resolve: Resolve,
    *,
    s3: S3Access,
    limits: DuckLimits,
    timeout_s: float,
    parameters: Mapping[str, str] = MappingProxyType({}),
    sandbox_required: bool = False,
    while_running: WhileRunning = lambda _: nullcontext(),
) -> Iterator[Answer]:
    """Run one SELECT, in which `$name` is a text of `parameters`.

    `sandbox_required`: refuse to run if the system cannot confine the child completely.
    `while_running` gets what stops the query from another thread; the query then raises SQL_CRASHED.

    Raises `UserError` BAD_SQL, SQL_TIMEOUT, SQL_TOO_BIG, SQL_CRASHED, also while rows are fetched, `RetriableError`
    LAKE_UNAVAILABLE, SQL_KILLED, `FatalError` SANDBOX_INCOMPLETE, SQL_CRASHED, and what `resolve` raises.
    """
    order = {"sql": text, "timeout_s": timeout_s, "sandbox_required": sandbox_required, "parameters": dict(parameters)}
    with _begun(order, resolve, s3, limits, while_running) as (child, _):
        columns = child.receive()
        yield Answer(names=tuple(columns["names"]), types=tuple(columns["types"]), rows=_rows(child))


@contextmanager
def write(
    text: str,
    resolve: Resolve,
    *,
    s3: S3Access,
    limits: DuckLimits,
    timeout_s: float,
    most_bytes: int,
    sandbox_required: bool = False,
) -> Iterator[Written]:
    """Write the result of one SELECT, which has a column user_id, to a file of at most `most_bytes`.

    Raises as `query`; also BAD_SQL and BAD_COLUMN for columns that an audience cannot have, SQL_TOO_BIG for the file.
    """
    order = {"sql": text, "timeout_s": timeout_s, "sandbox_required": sandbox_required, "parameters": {}}
    order["most_bytes"] = most_bytes
    with _begun(order, resolve, s3, limits, lambda _: nullcontext()) as (child, folder):
        columns = tuple(from_record(Column, one) for one in child.receive()["columns"])
        yield Written(file=folder / RESULT, columns=columns, rows=child.receive()["written"])


@contextmanager
def _begun(
    order: dict[str, Any], resolve: Resolve, s3: S3Access, limits: DuckLimits, while_running: WhileRunning
) -> Iterator[tuple["_Child", Path]]:
    """The child of a query that knows its files, and its own folder."""
    limits.temp_directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="sql-", dir=limits.temp_directory) as temp,
        _child(order["timeout_s"]) as child,
        while_running(child.kill),
    ):
        own = as_record(replace(limits, temp_directory=Path(temp)))
        child.send({**order, "s3": as_record(s3.with_keys()), "limits": own})
        answer = child.receive()
        sandbox.warn(SQL, sandbox.Layer(answer["missing"]))
        calls = [_call(record) for record in answer["calls"]]
        child.send({"views": [as_record(resolve(call)) for call in calls]})
        yield child, Path(temp)


def _rows(child: "_Child") -> Iterator[Row]:
    while (rows := child.receive().get("rows")) is not None:
        yield from map(tuple, rows)


def _call(record: dict[str, Any]) -> Call:
    call: type[Call] = CALLS[record["call"]]
    return from_record(call, record)


class _Child:
    """The process that runs one query; the protocol is lines of JSON."""

    def __init__(self, process: ChildProcess, timeout_s: float) -> None:
        self._process = process
        self._lines = process.control.makefile("rb")
        self._timeout_s = timeout_s
        self._expired = threading.Event()
        self._timer = threading.Timer(timeout_s + GRACE_S, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def send(self, record: dict[str, Any]) -> None:
        """Send a line; if the child is dead, the next `receive` reports it."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._process.control.sendall(json.dumps(record).encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        """The next line. Raises the error in it, or the error for the child's death."""
        try:
            line = self._lines.readline()
        except ConnectionResetError:  # it died with something of ours unread
            line = b""
        if not line.endswith(b"\n"):
            raise self._death()
        record: dict[str, Any] = json.loads(line)
        if "error" in record:
            raise MusterError.from_record(record["error"])
        return record

    def kill(self) -> None:
        """Kill the child, from any thread."""
        self._process.kill()

    def close(self) -> None:
        """Kill the child if it is still running."""
        self._timer.cancel()
        self._lines.close()
        self._process.close()

    def _expire(self) -> None:
        self._expired.set()
        self._process.kill()

    def _death(self) -> MusterError:
        self._process.wait()
        code = self._process.exit_code
        if self._expired.is_set():
            return timed_out(self._timeout_s)
        words = self._process.stderr_tail()
        if any(word in words for word in MEMORY_WORDS):
            return too_big("it was killed")
        detail = {"exit_code": code, "stderr": words.decode(errors="replace")}
        if code < 0:
            name = signal.Signals(-code).name
            return UserError("SQL_CRASHED", f"the query crashes DuckDB ({name}): rewrite it", **detail)
        return FatalError("SQL_CRASHED", f"the process of the query ended with exit code {code}", **detail)


@contextmanager
def _child(timeout_s: float) -> Iterator[_Child]:
    try:
        process = QUERIES.fork()
    except ForkServerDiedError as died:
        detail = {"exit_code": died.exit_code, "stderr": died.stderr}
        if died.from_outside:
            raise RetriableError("SQL_KILLED", "the process of queries was killed from outside", **detail) from died
        raise FatalError("SQL_CRASHED", "the process of queries cannot be started", **detail) from died
    child = _Child(process, timeout_s)
    try:
        yield child
    finally:
        child.close()


def _start(control_fd: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -P: the parent's current directory must not be on the import path.
        [sys.executable, "-P", "-m", "connectors.lake.sql_server", str(control_fd)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=child_environment() | SQL_ENVIRONMENT,  # no credentials: DuckDB would use them as settings
        pass_fds=(control_fd,),
    )


QUERIES: Final = Forks(_start)
"""The queries of this process."""
atexit.register(QUERIES.stop)


def timed_out(timeout_s: float) -> UserError:
    """The query took too long."""
    return UserError("SQL_TIMEOUT", f"the query took longer than {timeout_s:g} s", timeout_s=timeout_s)


def too_big(why: str) -> UserError:
    """The query took too much memory."""
    return UserError("SQL_TOO_BIG", f"the query needs more memory than it is allowed: {why}")
