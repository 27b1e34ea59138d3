"""Parameters of a query: `$name` becomes a constant of its tree, so that no value is ever read as SQL.

The constant is a text, as a literal in quotes is, and DuckDB gives it the type that its place asks for.
"""

from collections.abc import Mapping

from connectors.lake.sql_tree import Tree, nodes
from schemas.errors import UserError


def bind_parameters(tree: Tree, values: Mapping[str, str]) -> None:
    """Replace the parameters in the tree of a query.

    Raises `UserError` BAD_SQL unless each has a value, and each value is used.
    """
    used = set()
    for node in list(nodes(tree)):
        if "named_param_map" in node:
            node["named_param_map"] = []
        if node.get("type") != "VALUE_PARAMETER":
            continue
        name = node["identifier"]
        if name.isdecimal():
            raise UserError("BAD_SQL", "parameters have names: write $name instead of ? or $1")
        if name not in values:
            raise UserError("BAD_SQL", f"${name[:80]} has no value: give one with --param {name[:80]}=VALUE")
        if "\0" in values[name]:  # DuckDB's JSON ends a text there
            raise UserError("BAD_SQL", f"the value of ${name[:80]} must not contain the character NUL")
        used.add(name)
        kept = {"alias": node["alias"], "query_location": node["query_location"]}
        node.clear()
        text = {"type": {"id": "VARCHAR", "type_info": None}, "is_null": False, "value": values[name]}
        node.update(kept, **{"class": "CONSTANT"}, type="VALUE_CONSTANT", value=text)
    if unused := sorted(values.keys() - used):
        raise UserError("BAD_SQL", f"the query has no parameter ${unused[0]}")
