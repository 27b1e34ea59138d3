"""The child process of one query, a fork of `connectors.lake.sql_server`; the protocol is lines of JSON.

1. in: the query, the S3 access, limits. From here on the process has its own memory limit and is confined
   (`connectors.sandbox`): files to what Python imports, certificates and its own temporary directory; TCP to the port
   of the object store. DuckDB is loaded only now, since it starts threads, which would not be confined.
2. out: the calls in the query, in order, and the missing layers of confinement. in: the files of each call, and the
   SQL that reads them, which a reader has made; the query has no part in it.
3. From here on the connection sees these files and nothing else.
4. out: the column names, rows, the end. Or an error, at any time.
"""

import json
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from connectors.lake.audience_sql import rows_sql
from connectors.lake.faults import lake_faults
from connectors.lake.result_columns import columns_of, copy_sql
from connectors.lake.sql import RESULT, SQL, timed_out, too_big
from connectors.lake.sql_functions import check_functions
from connectors.lake.sql_parameters import bind_parameters
from connectors.lake.sql_places import ERRORS_AS_JSON, errors_as_written, marked
from connectors.lake.sql_tree import Call, Tree, replace_calls
from connectors.sandbox import CERTIFICATE_FILES, NAME_FILES, Confinement, Layer, Plan, program_files, require
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, connect
from schemas.columns import RowSchema
from schemas.errors import MusterError, UserError
from schemas.records import as_record, from_record
from schemas.sql_text import identifier, literal

if TYPE_CHECKING:
    import duckdb

MIB: Final = 1024 * 1024
SLACK_BYTES: Final = 512 * MIB
"""Memory of the process beyond twice `memory_limit`: Python, DuckDB itself, and what DuckDB does not count, such as
rows on their way out."""
FETCH_ROWS: Final = 1000
INTERRUPT_S: Final = 0.1
OWN_GROUP: Final = Path("/proc/self/cgroup")
GROUPS: Final = Path("/sys/fs/cgroup")
"""DuckDB reads the amount of memory there, and crashes if it cannot."""


def run(control_fd: int) -> int:
    """Run one query. The parent reads the lines; the exit code is for people."""
    with socket.socket(fileno=control_fd) as control:
        parent = _Parent(control)
        return _answer(parent, parent.receive())


class _Parent:
    """The other end of the socket."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._lines = control.makefile("rb")

    def receive(self) -> dict[str, Any]:
        """The next line."""
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            sys.exit("the parent has given up")
        record: dict[str, Any] = json.loads(line)
        return record

    def send(self, record: dict[str, Any]) -> None:
        """Send a line."""
        self._control.sendall(json.dumps(record).encode() + b"\n")


def _answer(parent: _Parent, order: dict[str, Any]) -> int:
    limits = from_record(DuckLimits, order["limits"])
    s3 = from_record(S3Access, order["s3"])
    missing = _confine(limits, s3)
    try:
        if order["sandbox_required"]:
            require(SQL, missing)
        _run(parent, order, s3, limits, missing)
    except MusterError as exc:
        parent.send({"error": exc.as_record()})
    except MemoryError:
        parent.send({"error": too_big("no memory is left").as_record()})
    return 0


def _confine(limits: DuckLimits, s3: S3Access) -> Layer:
    most = 2 * limits.memory_bytes + SLACK_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.open(OWN_GROUP, os.O_PATH)  # stays open: the rule is for this very inode, which another lookup could replace
    readable = (*program_files(), *NAME_FILES, *CERTIFICATE_FILES, OWN_GROUP, GROUPS)
    return Confinement(
        Plan(readable=readable, writable=(limits.temp_directory,), ports=(s3.port,))
    ).apply_to_this_thread()


def _run(parent: _Parent, order: dict[str, Any], s3: S3Access, limits: DuckLimits, missing: Layer) -> None:
    text, timeout_s, most_bytes = order["sql"], order["timeout_s"], order.get("most_bytes")
    with (
        connect(limits, s3) as connection,
        _time(connection, timeout_s) as expired,
        lake_faults("running the query"),
        _query_faults(expired, timeout_s),
    ):
        tree, views = _checked(connection, text, order["parameters"])
        calls = [{"call": type(call).__name__, **as_record(call)} for call in views]
        parent.send({"calls": calls, "missing": missing.value})
        result = limits.temp_directory / RESULT
        own = [] if most_bytes is None else [str(result)]
        _make_views(connection, list(views.values()), parent.receive()["views"], own)
        [(query,)] = connection.execute("SELECT json_deserialize_sql(?)", [json.dumps(tree)]).fetchall()
        with errors_as_written(text, tree, lambda: _parse(connection, query)):
            if most_bytes is not None:
                _write(parent, connection, query, result, most_bytes)
                return
            connection.execute(query)
            columns = connection.description or ()
            parent.send({"names": [column[0] for column in columns], "types": [str(column[1]) for column in columns]})
            while some := connection.fetchmany(FETCH_ROWS):
                parent.send({"rows": [[_plain(value) for value in row] for row in some]})
    parent.send({})


def _write(parent: _Parent, connection: "duckdb.DuckDBPyConnection", query: str, file: Path, most_bytes: int) -> None:
    """Write the result of a query to a file, and send its columns and its number of rows."""
    import duckdb

    described = connection.execute(f"DESCRIBE {query}").fetchall()
    columns = columns_of((row[0], row[1]) for row in described)
    parent.send({"columns": [as_record(one) for one in columns]})
    full = threading.Event()
    try:
        with _interrupting(connection, lambda: file.exists() and file.stat().st_size > most_bytes, full):
            [(rows,)] = connection.execute(copy_sql(query, columns, literal(str(file)))).fetchall()
    except duckdb.InterruptException as exc:
        if not full.is_set():
            raise
        raise _too_large(most_bytes) from exc
    if file.stat().st_size > most_bytes:
        raise _too_large(most_bytes)
    parent.send({"written": rows})


def _too_large(most_bytes: int) -> UserError:
    return UserError("SQL_TOO_BIG", f"the result of the query takes more than {most_bytes / MIB:,.0f} MiB")


@contextmanager
def _interrupting(
    connection: "duckdb.DuckDBPyConnection", due: Callable[[], bool], said: threading.Event
) -> Iterator[None]:
    """Interrupt the connection once something is due, and say so before."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(INTERRUPT_S):
            if due():
                said.set()
                connection.interrupt()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _checked(
    connection: "duckdb.DuckDBPyConnection", text: str, parameters: Mapping[str, str] = MappingProxyType({})
) -> tuple[Tree, dict[Call, str]]:
    """The tree of a query that may run, with its parameters bound and its calls replaced by views."""
    tree = _parse(connection, text)
    bind_parameters(tree, parameters)
    views = replace_calls(tree, _system_names(connection))
    check_functions(tree, text)
    return tree, views


def _parse(connection: "duckdb.DuckDBPyConnection", text: str) -> Tree:
    [row] = connection.execute("SELECT json_serialize_sql(?)", [text]).fetchall()
    try:
        tree: Tree = json.loads(row[0])
    except RecursionError as exc:
        raise UserError("BAD_SQL", "the query is nested too deeply") from exc
    if tree["error"]:
        said = f"{tree['error_message']}; `muster sql` runs one SELECT{marked(text, tree.get('position'))}"
        raise UserError("BAD_SQL", said, sql=text[:500])
    if len(tree["statements"]) != 1:
        raise UserError(
            "BAD_SQL", f"{len(tree['statements'])} statements; `muster sql` runs one SELECT", sql=text[:500]
        )
    return tree


def _system_names(connection: "duckdb.DuckDBPyConnection") -> frozenset[str]:
    sql = "SELECT view_name FROM duckdb_views() UNION ALL SELECT table_name FROM duckdb_tables()"
    return frozenset(name.lower() for (name,) in connection.execute(sql).fetchall())


def _make_views(
    connection: "duckdb.DuckDBPyConnection", names: list[str], views: list[dict[str, Any]], own: Sequence[str] = ()
) -> None:
    """One view for each call, and the tables behind it; afterwards the connection is locked down.

    `own`: files that the child itself writes.
    """
    for name, view in zip(names, views, strict=True):
        for table in view["tables"]:
            connection.execute(
                f"CREATE TEMP TABLE IF NOT EXISTS {identifier(table['name'])} AS {table['sql']}", table["parameters"]
            )
        connection.execute(f"CREATE TEMP VIEW {name} AS {_select(view)}")
    allowed = ", ".join(literal(file) for file in (*own, *(file for view in views for file in view["files"])))
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute(ERRORS_AS_JSON)
    connection.execute("SET lock_configuration = true")


def _select(view: dict[str, Any]) -> str:
    files: list[str] = view["files"]
    if view["sql"] is not None:
        return str(view["sql"])
    if view["schema"] is not None:
        return rows_sql(files, RowSchema.from_record(view["schema"]))
    if not files:
        return "SELECT NULL AS nothing WHERE false"
    return f"SELECT * FROM read_parquet([{', '.join(literal(file) for file in files)}])"  # noqa: S608  # quoted


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


@contextmanager
def _time(connection: "duckdb.DuckDBPyConnection", timeout_s: float) -> Iterator[threading.Event]:
    """Interrupt the connection after the timeout, repeatedly: an interrupt between two statements is lost."""
    done, expired = threading.Event(), threading.Event()

    def watch() -> None:
        wait_s = timeout_s
        while not done.wait(wait_s):
            expired.set()
            connection.interrupt()
            wait_s = INTERRUPT_S

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield expired
    finally:
        done.set()
        thread.join()


@contextmanager
def _query_faults(expired: threading.Event, timeout_s: float) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.InterruptException as exc:
        if not expired.is_set():
            raise
        raise timed_out(timeout_s) from exc
    except duckdb.OutOfMemoryException as exc:
        raise too_big(str(exc).partition("\n")[0]) from exc
    except (duckdb.ProgrammingError, duckdb.NotSupportedError, duckdb.DataError, duckdb.PermissionException) as exc:
        raise UserError("BAD_SQL", str(exc)[:1000]) from exc
