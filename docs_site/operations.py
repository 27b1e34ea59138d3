"""The reference of the API, from docs/openapi.json: a page for each tag, with a section for each operation."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from docs_site.pages import DOCS
from docs_site.samples import Schemas

FOLDER: Final = "reference/api"
STREAMED: Final = ("text/event-stream", "application/x-ndjson")
COMMON: Final = "Codes that every operation has are on the page of [the API](../../api.md)."

Operation = tuple[str, str, Mapping[str, Any]]


def pages() -> Iterator[tuple[str, str, str]]:
    """Title, path and Markdown of each page."""
    document = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    schemas = Schemas(document["components"]["schemas"])
    operations: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            operations.setdefault(one["tags"][0], []).append((method.upper(), path, one))
    usual = frozenset.intersection(
        *(frozenset(one["x-problems"]) for found in operations.values() for _, _, one in found)
    )
    for tag, found in sorted(operations.items()):
        title = tag.capitalize()
        text = "\n".join(_section(*one, schemas, usual) for one in found)
        yield title, f"{FOLDER}/{tag}.md", f"# {title}\n\n{COMMON}\n\n{text}"


def _section(method: str, path: str, operation: Mapping[str, Any], schemas: Schemas, usual: frozenset[str]) -> str:
    lines = [f"## {operation['summary']}", "", f"`{method} {path}`", "", operation["description"].strip(), ""]
    lines += [f"Needs the right `{operation['x-action']}` ([access](../../access.md)).", ""]
    if parameters := operation.get("parameters"):
        lines += ["| parameter | in | |", "|---|---|---|"]
        lines += [
            f"| `{one['name']}`{' (required)' if one['required'] else ''} | {one['in']} | "
            f"{schemas.type_of(one['schema'])}. {_cell(one.get('description', ''))} |"
            for one in parameters
        ]
        lines.append("")
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        lines += ["**Body**", "", *schemas.members(content["schema"]), ""]
        lines += _example(method, path, media, schemas.sample(content["schema"], asked=True))
    for status, answer in operation["responses"].items():
        if status < "3":
            for media, content in answer.get("content", {}).items():
                stream = " (a stream; each event or line is one)" if media in STREAMED else ""
                lines += [f"**Answer {status}**{stream}", "", *schemas.members(content["schema"]), ""]
                lines += _json(schemas.sample(content["schema"], asked=False))
            if not answer.get("content"):
                lines += [f"**Answer {status}**, without a body", ""]
    codes = [f"`{code}`" for code in operation["x-problems"] if code not in usual]
    return "\n".join([*lines, f"**Codes**: {', '.join(codes)}", ""])


def _example(method: str, path: str, media: str, body: Any) -> list[str]:
    text = json.dumps(body, ensure_ascii=False)
    return ["```http", f"{method} {path}", f"Content-Type: {media}", "", text, "```", ""]


def _json(value: Any) -> list[str]:
    return ["```json", json.dumps(value, indent=2, ensure_ascii=False), "```", ""]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
