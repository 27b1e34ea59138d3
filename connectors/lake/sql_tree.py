"""Checks a query in DuckDB's own syntax tree: what it may name, and the calls in it that stand for files.

A query is one SELECT. Its tables are its own common table expressions, `audience(...)`, `rejects(...)` and functions
that produce rows from no input; everything else, including DuckDB's catalogs and settings, is refused here, regardless
of what DuckDB would allow.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName, Version, audience_name, job_id, tenant_name

PLAIN_TABLE_FUNCTIONS: Final = frozenset({"range", "generate_series", "unnest"})
RECURSIVE_SCHEMA: Final = "recurring"
"""Schema in which a recursive expression with USING KEY refers to itself."""
VIEW_PREFIX: Final = "_muster_"
"""Of the views that stand for calls; no name in a query begins so."""
RESERVED: Final = frozenset({"file", "s3", "http", "https", "hf", "gcs", "gs", "r2", "azure", "az", "abfss"})
"""Names that mean locations outside the query in DuckDB."""
FILE_NAME_CHARACTERS: Final = re.compile(r"[/\\.:*?\[\]]")
"""Characters of file names: an expression with such a name, visible in one scope, must not open the file in another."""

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceCall:
    """`audience(name[, version => N][, tenant => T])`; `version=None` is the current one."""

    audience: AudienceName
    version: Version | None
    tenant: TenantName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectsCall:
    """`rejects(job)`."""

    job: JobId


Call = AudienceCall | RejectsCall


def replace_calls(tree: Tree, system_names: frozenset[str]) -> dict[Call, str]:
    """Check a tree and replace its calls by views; returns the view name of each call.

    `system_names`: DuckDB's own tables and views; expressions of the query may not have these names. Raises `UserError`
    BAD_SQL, BAD_NAME, BAD_JOB_ID.
    """
    found = list(nodes(tree))
    for node in found:
        _check_names(node)
    known = {entry["key"].lower() for node in found for entry in _expressions(node)}
    if reserved := sorted(known & system_names):
        raise UserError("BAD_SQL", f"{reserved[0]} is the name of a DuckDB table: use another name for the expression")
    if invalid := sorted(n for n in known if n in RESERVED or FILE_NAME_CHARACTERS.search(n)):
        raise UserError(
            "BAD_SQL", f"{invalid[0][:80]!r} is not a valid name for an expression: use letters, digits and _"
        )
    views: dict[Call, str] = {}
    for node in found:
        match node.get("type"):
            case "BASE_TABLE":
                _check_table(node, known)
            case "SHOW_REF" if not isinstance(node["query"], dict):
                raise _no_table(node["table_name"])
            case "TABLE_FUNCTION":
                call = _call(node["function"])
                if call is not None:
                    _replace_by_view(node, views.setdefault(call, f"{VIEW_PREFIX}{len(views)}"))
    return views


def nodes(root: Tree) -> Iterator[Tree]:
    """All objects of the tree. Not recursive, since a query may be nested deeper than Python's stack."""
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += reversed(list(node.values()))
        elif isinstance(node, list):
            waiting += reversed(node)


def _check_names(node: Tree) -> None:
    """Names are texts of the tree, alone or in a list; the text of a constant is its `value`."""
    for key, named in node.items():
        for name in named if isinstance(named, list) else (named,):
            if key != "value" and isinstance(name, str) and name.lower().startswith(VIEW_PREFIX):
                raise UserError("BAD_SQL", f"{name[:80]!r}: names that begin with {VIEW_PREFIX} are reserved")


def _expressions(node: Tree) -> list[Tree]:
    expressions = node.get("cte_map")
    return expressions["map"] if isinstance(expressions, dict) else []


def _check_table(node: Tree, known: set[str]) -> None:
    inside = not node["catalog_name"] and node["schema_name"].lower() in {"", RECURSIVE_SCHEMA}
    if not inside or node["table_name"].lower() not in known:
        raise _no_table(".".join(part for part in (node["schema_name"], node["table_name"]) if part))


def _no_table(name: str) -> UserError:
    return UserError("BAD_SQL", f"table {name} does not exist; read data with audience('name') or rejects('job')")


def _call(function: Tree) -> Call | None:
    name = function["function_name"].lower()
    if function["schema"] or function["catalog"] or name not in PLAIN_TABLE_FUNCTIONS | {"audience", "rejects"}:
        raise UserError(
            "BAD_SQL", f"table function {name} cannot be used here; read data with audience('name') or rejects('job')"
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


def _constant(what: str, node: Tree, type_: type[Any]) -> Any:
    value = node.get("value") if node.get("type") == "VALUE_CONSTANT" else None
    if not isinstance(value, dict) or type(value.get("value")) is not type_:
        raise UserError("BAD_SQL", f"{what} takes a constant: {'text' if type_ is str else 'a whole number'}")
    return value["value"]


def _replace_by_view(node: Tree, name: str) -> None:
    """Replace a call by a view. The name is qualified: an expression of the query with that name does not hide it."""
    if node["with_ordinality"] == "WITH_ORDINALITY":
        raise UserError("BAD_SQL", "audiences and rejects have no order, so WITH ORDINALITY cannot be used")
    kept = {
        "alias": node["alias"] or node["function"]["function_name"].lower(),
        "sample": node["sample"],
        "query_location": node["query_location"],
        "column_name_alias": node["column_name_alias"],
    }
    node.clear()
    node.update(kept, type="BASE_TABLE", catalog_name="temp", schema_name="main", table_name=name, at_clause=None)
