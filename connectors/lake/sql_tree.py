"""Checks a query in DuckDB's own syntax tree: what it may name, and the calls in it that stand for files.

A query is one SELECT. Its tables are its own common table expressions, the calls of `USAGE` and functions that produce
rows from no input; everything else, including DuckDB's catalogs and settings, is refused here, regardless of what
DuckDB would allow.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from schemas.activity_columns import NAME_MAX_CHARACTERS
from schemas.errors import UserError
from schemas.ids import AudienceName, JobId, TenantName, Version, audience_name, job_id, segment_name, tenant_name
from segmentation.rules.windows import MINUTES, is_ambiguous, window

PLAIN_TABLE_FUNCTIONS: Final = frozenset({"range", "generate_series", "unnest"})
RECURSIVE_SCHEMA: Final = "recurring"
"""Schema in which a recursive expression with USING KEY refers to itself."""
VIEW_PREFIX: Final = "_muster_"
"""Of the views that stand for calls; no name in a query begins so."""
RESERVED: Final = frozenset({"file", "s3", "http", "https", "hf", "gcs", "gs", "r2", "azure", "az", "abfss"})
"""Names that mean locations outside the query in DuckDB."""
FILE_NAME_CHARACTERS: Final = re.compile(r"[/\\.:*?\[\]]")
"""Characters of file names: an expression with such a name, visible in one scope, must not open the file in another."""

USAGE: Final[Mapping[str, str]] = {
    "audience": "audience('name'[, version => N][, tenant => 'T'])",
    "segment": "segment('name'[, tenant => 'T'])",
    "events": "events(['name'][, since => '30d'][, until => '2026-12-01'][, tenant => 'T'])",
    "profiles": "profiles([tenant => 'T'])",
    "rejects": "rejects('job')",
}
"""How each call is written."""
READ_DATA: Final = "read data with audience('name'), segment('name'), events('name'), profiles() or rejects('job')"

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentCall:
    """`segment(name[, tenant => T])`: members by the segment's rule."""

    segment: AudienceName
    tenant: TenantName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsCall:
    """`events([name][, since => T][, until => T][, tenant => T])`; `event=None` are those of all names.

    `since`, `until`: as they were written; `moment_of` reads them.
    """

    event: str | None
    since: str | None
    until: str | None
    tenant: TenantName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilesCall:
    """`profiles([tenant => T])`."""

    tenant: TenantName | None


Call = AudienceCall | RejectsCall | SegmentCall | EventsCall | ProfilesCall


def moment_of(text: str, now: datetime) -> datetime:
    """A time as a query gives it: ISO 8601, in UTC without an offset, or how long before now, as in rules: 30d, 12h.

    Raises `UserError` BAD_SQL.
    """
    if (seconds := window(text)) is not None:
        if is_ambiguous(text):
            raise UserError("BAD_SQL", f"{text[:80]!r}: expected {MINUTES}")
        try:
            return now - timedelta(seconds=seconds)
        except OverflowError as exc:
            raise _bad_moment(text) from exc
    try:
        found = datetime.fromisoformat(text)
    except ValueError as exc:
        raise _bad_moment(text) from exc
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _bad_moment(text: str) -> UserError:
    return UserError("BAD_SQL", f"{text[:80]!r} is not a time like '2026-12-01T09:00Z' or '30d'")


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
    return UserError("BAD_SQL", f"table {name} does not exist; {READ_DATA}")


def _call(function: Tree) -> Call | None:
    name = function["function_name"].lower()
    if function["schema"] or function["catalog"] or name not in PLAIN_TABLE_FUNCTIONS | USAGE.keys():
        raise UserError("BAD_SQL", f"table function {name} cannot be used here; {READ_DATA}")
    return None if name in PLAIN_TABLE_FUNCTIONS else _CALLS[name](_Arguments.of(name, function))


@dataclass(frozen=True, slots=True)
class _Arguments:
    """The arguments of a call: all are constants."""

    call: str
    first: Tree | None
    named: Mapping[str, Tree]

    @classmethod
    def of(cls, call: str, function: Tree) -> "_Arguments":
        positional = [child for child in function["children"] if not child["alias"]]
        named = {child["alias"].lower(): child for child in function["children"] if child["alias"]}
        least, most, allowed = _TAKES[call]
        if not least <= len(positional) <= most or not named.keys() <= allowed:
            raise _misused(call)
        if len(positional) + len(named) != len(function["children"]):  # a name is given twice
            raise _misused(call)
        return cls(call, positional[0] if positional else None, named)

    def text(self) -> str:
        """The first argument."""
        return str(_constant(self.call, self.first or {}, str))

    def optional(self, name: str, type_: type[Any] = str) -> Any:
        """A named argument, or None."""
        return _constant(name, self.named[name], type_) if name in self.named else None

    def tenant(self) -> TenantName | None:
        """The tenant that is named."""
        found = self.optional("tenant")
        return None if found is None else tenant_name(found)


_TAKES: Final[Mapping[str, tuple[int, int, frozenset[str]]]] = {
    "audience": (1, 1, frozenset({"version", "tenant"})),
    "segment": (1, 1, frozenset({"tenant"})),
    "events": (0, 1, frozenset({"since", "until", "tenant"})),
    "profiles": (0, 0, frozenset({"tenant"})),
    "rejects": (1, 1, frozenset()),
}
"""Fewest and most arguments without a name, and the names of the others."""


def _misused(call: str) -> UserError:
    return UserError("BAD_SQL", f"{call} is called as {USAGE[call]}")


def _audience(given: _Arguments) -> AudienceCall:
    version = given.optional("version", int)
    return AudienceCall(
        audience=audience_name(given.text()),
        version=None if version is None else Version(version),
        tenant=given.tenant(),
    )


def _segment(given: _Arguments) -> SegmentCall:
    return SegmentCall(segment=segment_name(given.text()), tenant=given.tenant())


def _events(given: _Arguments) -> EventsCall:
    event = None if given.first is None else given.text()
    if event is not None and not 1 <= len(event) <= NAME_MAX_CHARACTERS:
        raise UserError("BAD_SQL", f"the name of an event has 1 to {NAME_MAX_CHARACTERS} characters")
    since, until = given.optional("since"), given.optional("until")
    for moment in (since, until):
        if moment is not None:
            moment_of(moment, datetime.now(UTC))
    return EventsCall(event=event, since=since, until=until, tenant=given.tenant())


_CALLS: Final[Mapping[str, Callable[[_Arguments], Call]]] = {
    "audience": _audience,
    "segment": _segment,
    "events": _events,
    "profiles": lambda given: ProfilesCall(tenant=given.tenant()),
    "rejects": lambda given: RejectsCall(job=job_id(given.text())),
}


def _constant(what: str, node: Tree, type_: type[Any]) -> Any:
    value = node.get("value") if node.get("type") == "VALUE_CONSTANT" else None
    if not isinstance(value, dict) or type(value.get("value")) is not type_:
        raise UserError("BAD_SQL", f"{what} takes a constant: {'text' if type_ is str else 'a whole number'}")
    return value["value"]


def _replace_by_view(node: Tree, name: str) -> None:
    """Replace a call by a view. The name is qualified: an expression of the query with that name does not hide it."""
    if node["with_ordinality"] == "WITH_ORDINALITY":
        raise UserError("BAD_SQL", "data have no order, so WITH ORDINALITY cannot be used")
    kept = {
        "alias": node["alias"] or node["function"]["function_name"].lower(),
        "sample": node["sample"],
        "query_location": node["query_location"],
        "column_name_alias": node["column_name_alias"],
    }
    node.clear()
    node.update(kept, type="BASE_TABLE", catalog_name="temp", schema_name="main", table_name=name, at_clause=None)
