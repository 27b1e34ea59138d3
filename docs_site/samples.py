"""Schemas of the OpenAPI document as tables of members, and as examples."""

from collections.abc import Mapping
from typing import Any, Final

PATTERNED: Final[Mapping[str, str]] = {
    "job": "01m87b5fjxy5p23eqzcwh67tr0",
    "export": "01m87b5fjxy5p23eqzcwh67tr0",
    "upload": "01m87b5fjxy5p23eqzcwh67tr0",
    "operation": "01m87b5fjxy5p23eqzcwh67tr0",
    "tenant": "default",
    "audience": "vip",
    "segment": "buyers",
    "rule": "count(purchase, 30d) >= 2",
    "user": "ann@example.org",
    "timezone": "Asia/Tokyo",
}
"""Values of members that have the same meaning everywhere."""
TIME: Final = "2026-12-03T06:00:00.000000Z"
DEPTH: Final = 4
"""Levels of an example; below, values are null or empty."""


class Schemas:
    """The named schemas of a document."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named

    def members(self, schema: Mapping[str, Any]) -> list[str]:
        """Lines of Markdown: the members of an object, and of the objects within it that have a name."""
        lines: list[str] = []
        waiting, done = [schema], set()
        while waiting:
            one = waiting.pop(0)
            name = _name(one)
            if name in done:
                continue
            done.add(name)
            whole = self._resolved(one)
            if "properties" not in whole:
                waiting += [inner for inner in _inner(whole) if _name(inner) not in done]
                continue
            lines += ["", f"`{name}`" + (f": {_cell(text)}" if (text := whole.get("description")) else ""), ""]
            lines += ["| member | type | |", "|---|---|---|"]
            required = set(whole.get("required", ()))
            for member, inner in whole["properties"].items():
                mark = "" if member in required else " (optional)"
                lines.append(f"| `{member}`{mark} | {self.type_of(inner)} | {_cell(inner.get('description', ''))} |")
                waiting += [found for found in _inner(inner) if _name(found)]
        return lines

    def type_of(self, schema: Mapping[str, Any]) -> str:
        """The type in words."""
        if name := _name(schema):
            whole = self._named[name]
            return f"`{name}`" if "properties" in whole else self.type_of(whole)
        if "const" in schema:
            return f"`{schema['const']}`"
        if "enum" in schema:
            return " or ".join(f"`{value}`" for value in schema["enum"])
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return " or ".join(dict.fromkeys(self.type_of(one) for one in choices))
        if schema.get("type") == "array":
            return f"list of {self.type_of(schema.get('items', {}))}"
        kind = schema.get("type", "any value")
        limits = [f"{word} {schema[key]}" for key, word in LIMITS.items() if key in schema]
        return ", ".join([" or ".join(kind) if isinstance(kind, list) else str(kind), *limits])

    def sample(self, schema: Mapping[str, Any], *, asked: bool, name: str = "", depth: int = DEPTH) -> Any:
        """An example. Of a request (`asked`) only with the members that it needs, if the schema has no example."""
        whole = self._resolved(schema)
        for key in ("example", "const", "default"):
            if whole.get(key) is not None:
                return whole[key]
        if examples := whole.get("examples"):
            return examples[0]
        if "enum" in whole:
            return whole["enum"][0]
        if choices := whole.get("anyOf") or whole.get("oneOf"):
            return self.sample(choices[0], asked=asked, name=name, depth=depth)
        return self._of_type(whole, asked=asked, name=name, depth=depth)

    def _of_type(self, whole: Mapping[str, Any], *, asked: bool, name: str, depth: int) -> Any:
        kind = whole.get("type")
        if kind == "object" or "properties" in whole:
            wanted = whole.get("required", ()) if asked else whole.get("properties", {})
            return {
                member: self.sample(whole["properties"][member], asked=asked, name=member, depth=depth - 1)
                for member in wanted
                if depth > 0
            }
        if kind == "array":
            return [self.sample(whole.get("items", {}), asked=asked, name=name, depth=depth - 1)] if depth > 0 else []
        if kind == "string":
            return TIME if name.endswith("_at") or name in {"at", "as_of"} else PATTERNED.get(name, "text")
        if kind in {"integer", "number"}:
            return whole.get("minimum", 0)
        return {"boolean": True}.get(str(kind))

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._named[name] if (name := _name(schema)) else schema
        return found


LIMITS: Final[Mapping[str, str]] = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "of length at least",
    "maxLength": "of length at most",
    "minItems": "of at least",
    "maxItems": "of at most",
}


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _inner(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schemas that a schema is made of."""
    found = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    if isinstance(items := schema.get("items"), dict):
        found.append(items)
    if _name(schema):
        found.append(schema)
    return [deeper for one in found for deeper in ([one] if _name(one) else _inner(one))]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
