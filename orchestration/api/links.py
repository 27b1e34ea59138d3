"""Links of the OpenAPI document: operations that take an id from the answer of one that creates or starts something."""

import re
from collections.abc import Mapping
from typing import Any, Final

IN_TENANT: Final = "/v1/tenants/{tenant}"
ON_A_THING: Final = re.compile(rf"({IN_TENANT}/[\w-]+|(?!{IN_TENANT})/v1/[\w-]+)/{{(\w+)}}[^{{]*")
"""The path of an operation on a thing: its collection, and the parameter that names it. A tenant is not a thing."""
STARTED: Final = frozenset({"201", "202"})
MEMBERS: Final[Mapping[str, str]] = {"schedule": "name", "feed": "name"}
"""By a parameter of paths: the member of an answer that it takes, if that has another name."""
ETAG: Final = "ETag"


def add_links(found: dict[str, Any]) -> None:
    """Add the links to the operations of a document. An answer's ETag becomes the If-Match of a linked operation."""
    operations = [(path, one) for path, methods in found["paths"].items() for one in methods.values()]
    on_things = [(*parts.groups(), one) for path, one in operations if (parts := ON_A_THING.fullmatch(path))]
    for path, one in operations:
        for answer in (one["responses"][status] for status in STARTED & one["responses"].keys()):
            members = _members(found, answer)
            collections = {path, *(f"{IN_TENANT}/{name}s" for name in members if path.startswith(IN_TENANT))}
            links = {
                target["operationId"]: {
                    "operationId": target["operationId"],
                    "parameters": _parameters(target, answer, parameter),
                }
                for collection, parameter, target in on_things
                if collection in collections and MEMBERS.get(parameter, parameter) in members
            }
            if links:
                answer["links"] = links


def _members(found: dict[str, Any], answer: dict[str, Any]) -> frozenset[str]:
    """The names of texts in an answer; none if it has one of several forms."""
    name = answer["content"]["application/json"]["schema"].get("$ref", "").rpartition("/")[2]
    members = found["components"]["schemas"].get(name, {}).get("properties", {})
    return frozenset(name for name, schema in members.items() if schema.get("type") == "string")


def _parameters(target: dict[str, Any], answer: dict[str, Any], parameter: str) -> dict[str, str]:
    tagged = ETAG in answer.get("headers", {})
    known = {
        ("path", "tenant"): "$request.path.tenant",
        ("path", parameter): f"$response.body#/{MEMBERS.get(parameter, parameter)}",
        **({("header", "if-match"): f"$response.header.{ETAG}"} if tagged else {}),
    }
    given = {(one["in"], one["name"].lower()): one["name"] for one in target.get("parameters", ())}
    return {f"{where}.{given[where, name]}": text for (where, name), text in known.items() if (where, name) in given}
