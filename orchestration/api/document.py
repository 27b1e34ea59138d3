"""The OpenAPI document. `write_document` writes it to docs/openapi.json, and a test compares it."""

import json
from collections import Counter
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from orchestration.access.bodies.common import Problem
from orchestration.api.links import add_links
from schemas.ids import JOB_ID_PATTERN, NAME_PATTERN

REQUIRED_HEADERS: Final = frozenset({"if-match", "idempotency-key"})
NAMES: Final = frozenset({"tenant", "audience", "segment", "schedule", "feed"})
WITHOUT_PATTERN: Final = frozenset({"kind"})
STREAMS: Final = ("text/event-stream", "application/x-ndjson")
DESCRIPTION: Final = """Send a token in `Authorization: Bearer mst_...`. Errors are problems (RFC 9457), and their
`code` is stable. Browsers send the cookie of a session instead; their changes must come from a page of the service.

A tenant in which you have no role, and everything of another tenant, is answered like what does not exist (404). An
action that your roles do not allow is FORBIDDEN (403). Lists go on at `next`, as `cursor`, with the same filters.
"""


def document(app: FastAPI) -> dict[str, Any]:
    """The document of all routes."""
    found = get_openapi(
        title="Muster", version="1", openapi_version="3.1.0", description=DESCRIPTION, routes=app.routes
    )
    schemas = found["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which no answer has
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    _describe_streams(found)
    _require_headers(found)
    _describe_names(found)
    _share_responses(found)
    add_links(found)
    found["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "bearerFormat": "mst_"},
        "session": {"type": "apiKey", "in": "cookie", "name": "__Host-muster"},
    }
    return found


def _describe_streams(found: dict[str, Any]) -> None:
    """The schema of a stream is that of the data of an event, or of a line; FastAPI adds that it is text."""
    for methods in found["paths"].values():
        for one in methods.values():
            for answer in one["responses"].values():
                for media_type in STREAMS:
                    if (stream := answer.get("content", {}).get(media_type)) is not None:
                        stream["schema"].pop("type", None)


def _require_headers(found: dict[str, Any]) -> None:
    """Routes take these headers as optional, since a request without one has a code of its own."""
    for given in _parameters(found, "header"):
        if given["name"].lower() in REQUIRED_HEADERS:
            given.update(required=True, schema={"type": "string"})


def _describe_names(found: dict[str, Any]) -> None:
    """The patterns of ids and names in paths, which have codes of their own too."""
    for given in _parameters(found, "path"):
        if given["schema"].get("type") == "string" and given["name"] not in WITHOUT_PATTERN:
            is_name = given["name"] in NAMES
            given["schema"]["pattern"] = f"^{(NAME_PATTERN if is_name else JOB_ID_PATTERN).pattern}$"


def _parameters(found: dict[str, Any], place: str) -> list[dict[str, Any]]:
    return [
        given
        for methods in found["paths"].values()
        for one in methods.values()
        for given in one.get("parameters", ())
        if given["in"] == place
    ]


def _share_responses(found: dict[str, Any]) -> None:
    """Move the problems that most operations have with a status to one place."""
    operations = [one for methods in found["paths"].values() for one in methods.values()]
    shared: dict[str, Any] = {}
    for status in sorted({status for one in operations for status in one["responses"] if status >= "4"}):
        given = [one["responses"][status] for one in operations if status in one["responses"]]
        usual, times = Counter(response["description"] for response in given).most_common(1)[0]
        if times < 2:
            continue
        name = f"Problem{status}"
        shared[name] = next(response for response in given if response["description"] == usual)
        for one in operations:
            if one["responses"].get(status, {}).get("description") == usual:
                one["responses"][status] = {"$ref": f"#/components/responses/{name}"}
    found["components"]["responses"] = shared


def parameters_of(found: dict[str, Any]) -> dict[str, frozenset[str]]:
    """Names of the query parameters of each operation, by its id."""
    return {
        one["operationId"]: frozenset(p["name"] for p in one.get("parameters", ()) if p["in"] == "query")
        for methods in found["paths"].values()
        for one in methods.values()
    }


def text(found: dict[str, Any]) -> str:
    """The document as it is committed."""
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
