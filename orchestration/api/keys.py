"""Idempotency keys of requests."""

from typing import Annotated

from fastapi import Header
from pydantic import BaseModel
from starlette.requests import Request

from orchestration.access.idempotency import RequestKey

IdempotencyKey = Annotated[
    str | None,
    Header(description="A fresh random text; the same one in every repeat of the request. Kept for 72 hours."),
]


def key_of(request: Request, text: str | None, body: BaseModel | None = None) -> RequestKey:
    """The key of a request. Raises `UserError` NO_IDEMPOTENCY_KEY, BAD_IDEMPOTENCY_KEY."""
    asked = None if body is None else body.model_dump(mode="json", exclude_unset=True)
    return RequestKey.of(text, request.method, request.url.path, asked)
