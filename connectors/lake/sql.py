"""`muster sql`: one SELECT over audiences and rejects, in a sandbox.

`audience('vip', version => 3, tenant => 'acme')` and `rejects('<job>')` are no functions of DuckDB's. DuckDB parses the
query into its own tree; there the calls are found, resolved by the caller into exact file lists, and replaced by the
names of views; only the names go back into SQL. The connection then sees those files and nothing else: no other
objects, no local files, no network, no settings, no writes.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from connectors.lake.access import S3Access
from connectors.lake.duck import connect, literal, rows_sql
from connectors.lake.faults import lake_faults
from connectors.lake.limits import DuckLimits
from schemas.columns import RowSchema
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName, Version, audience_name, job_id, tenant_name

PLAIN_TABLE_FUNCTIONS: Final = frozenset({"range", "generate_series", "unnest"})
VIEW_PREFIX: Final = "_muster_"


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceCall:
    """`audience(name[, version => N][, tenant => T])`; no version is the current one."""

    audience: AudienceName
    version: Version | None
    tenant: TenantName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectsCall:
    """`rejects(job)`."""

    job: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The S3 URIs of the Parquet files that a call stands for. `schema` none takes the columns from the files."""

    files: Sequence[str]
    schema: RowSchema | None


Resolve = Callable[[AudienceCall | RejectsCall], Resolved]


@contextmanager
def query(
    text: str, resolve: Resolve, *, s3: S3Access, limits: DuckLimits, timeout_s: float
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Run one SELECT; the connection it yields has the result (`description`, `fetchmany`, `to_arrow_reader`).

    Raises `UserError` BAD_SQL, SQL_TIMEOUT, SQL_TOO_BIG, also while rows are fetched, and what `resolve` raises.
    """
    with connect(limits, s3) as connection:
        expired = threading.Event()

        def interrupt() -> None:
            expired.set()
            connection.interrupt()

        timer = threading.Timer(timeout_s, interrupt)
        timer.daemon = True
        timer.start()
        try:
            with lake_faults("running the query"), _query_faults(expired, timeout_s):
                connection.execute(_prepare(connection, text, resolve))
                yield connection
        finally:
            timer.cancel()


def _prepare(connection: duckdb.DuckDBPyConnection, text: str, resolve: Resolve) -> str:
    """The query over views, which are made here; the connection is locked up when this returns."""
    tree = _parse(connection, text)
    views: dict[AudienceCall | RejectsCall, str] = {}
    for node in _table_functions(tree):
        call = _call(node["function"])
        if call is not None:
            name = views.setdefault(call, f"{VIEW_PREFIX}{len(views)}")
            _replace_by_table(node, name, default_alias=node["function"]["function_name"].lower())
    allowed: list[str] = []
    for call, name in views.items():
        resolved = resolve(call)
        allowed += resolved.files
        connection.execute(f"CREATE TEMP VIEW {name} AS {_select(resolved)}")
    connection.execute(f"SET allowed_paths = [{', '.join(literal(file) for file in allowed)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    [row] = connection.execute("SELECT json_deserialize_sql(?)", [json.dumps(tree)]).fetchall()
    return str(row[0])


def _select(resolved: Resolved) -> str:
    if resolved.schema is not None:
        return rows_sql(resolved.files, resolved.schema)
    if not resolved.files:
        return "SELECT NULL AS nothing WHERE false"
    return f"SELECT * FROM read_parquet([{', '.join(literal(file) for file in resolved.files)}])"  # noqa: S608  # quoted


def _parse(connection: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    [row] = connection.execute("SELECT json_serialize_sql(?)", [text]).fetchall()
    tree: dict[str, Any] = json.loads(row[0])
    if tree["error"]:
        raise UserError("BAD_SQL", f"{tree['error_message']}; `muster sql` runs one SELECT", sql=text[:500])
    if len(tree["statements"]) != 1:
        raise UserError(
            "BAD_SQL", f"{len(tree['statements'])} statements; `muster sql` runs one SELECT", sql=text[:500]
        )
    return tree


def _table_functions(node: object) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION" and isinstance(node.get("function"), dict):
            yield node
        for child in list(node.values()):
            yield from _table_functions(child)
    elif isinstance(node, list):
        for child in node:
            yield from _table_functions(child)


def _call(function: dict[str, Any]) -> AudienceCall | RejectsCall | None:
    name = function["function_name"].lower()
    if function["schema"] or function["catalog"] or name not in PLAIN_TABLE_FUNCTIONS | {"audience", "rejects"}:
        raise UserError(
            "BAD_SQL", f"table function {name} cannot be used here; read with audience('name') or rejects('job')"
        )
    if name in PLAIN_TABLE_FUNCTIONS:
        return None
    positional = [child for child in function["children"] if not child["alias"]]
    named = {child["alias"].lower(): child for child in function["children"] if child["alias"]}
    allowed = {"version", "tenant"} if name == "audience" else set()
    if len(positional) != 1 or not named.keys() <= allowed or len(named) + 1 != len(function["children"]):
        usage = "audience('name'[, version => N][, tenant => 'T'])" if name == "audience" else "rejects('job')"
        raise UserError("BAD_SQL", f"{name} is called as {usage}")
    first = _constant(name, positional[0], str)
    if name == "rejects":
        return RejectsCall(job=job_id(first))
    version = _constant("version", named["version"], int) if "version" in named else None
    tenant = _constant("tenant", named["tenant"], str) if "tenant" in named else None
    return AudienceCall(
        audience=audience_name(first),
        version=None if version is None else Version(version),
        tenant=None if tenant is None else tenant_name(tenant),
    )


def _constant(what: str, node: dict[str, Any], type_: type[Any]) -> Any:
    value = node.get("value") if node.get("type") == "VALUE_CONSTANT" else None
    if not isinstance(value, dict) or type(value.get("value")) is not type_:
        raise UserError("BAD_SQL", f"{what} takes a constant: {'text' if type_ is str else 'a whole number'}")
    return value["value"]


def _replace_by_table(node: dict[str, Any], name: str, default_alias: str) -> None:
    kept = {
        "alias": node["alias"] or default_alias,
        "sample": node["sample"],
        "query_location": node["query_location"],
        "column_name_alias": node["column_name_alias"],
    }
    node.clear()
    node.update(kept, type="BASE_TABLE", schema_name="", table_name=name, catalog_name="", at_clause=None)


@contextmanager
def _query_faults(expired: threading.Event, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException as exc:
        if not expired.is_set():
            raise
        raise UserError("SQL_TIMEOUT", f"the query took longer than {timeout_s:g} s", timeout_s=timeout_s) from exc
    except duckdb.OutOfMemoryException as exc:
        raise UserError("SQL_TOO_BIG", f"the query needs more memory than it may have: {str(exc)[:300]}") from exc
    except (duckdb.ProgrammingError, duckdb.NotSupportedError, duckdb.DataError, duckdb.PermissionException) as exc:
        raise UserError("BAD_SQL", str(exc)[:1000]) from exc
