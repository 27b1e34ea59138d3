"""Answers as JSON and as problems."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

from starlette.responses import Response

from orchestration.api.problems import MEDIA_TYPE, headers_of, problem, status_of
from orchestration.records.fields import ABSENT
from schemas.errors import MusterError


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Plain JSON data, in ASCII: it then carries any text, lone surrogates too."""
    return Response(_json(value), status, dict(headers or {}), "application/json")


def items_answer(found: Sequence[Any]) -> Response:
    """A list that has no pages."""
    return json_answer({"items": found})


def location(tenant: str, begun: Any) -> dict[str, str]:
    """The header of an answer 202, which says where to ask for what has begun."""
    return {"Location": f"/v1/tenants/{tenant}/{begun.location.format(begun)}"}


def problem_answer(error: MusterError, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as a problem."""
    sent = {**headers_of(error), **(headers or {})}
    return Response(_json(problem(error, request_id)), status_of(error), sent, MEDIA_TYPE)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_fields).encode("ascii")


def _fields(record: Any) -> dict[str, Any]:
    """The fields that a record has; `json` asks again for records in them (six times as fast as `as_record`)."""
    values = {name: getattr(record, name) for name in _names(record.__class__)}
    return {name: value for name, value in values.items() if value is not ABSENT}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind))  # without class variables, which `__dataclass_fields__` has too
