"""Lists: a limit, a cursor, and the answer with the cursor for the rest."""

from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.pages import Page
from orchestration.api import cursors
from orchestration.api.answers import json_answer

Limit = Annotated[int, Query(ge=1, le=500, description="At most this many items.")]
Cursor = Annotated[
    str | None,
    Query(max_length=cursors.MAX_LENGTH, description="`next` of the page before, with the same filters."),
]
DEFAULT_LIMIT = 100


def start(request: Request, cursor: str | None, **filters: Any) -> str | None:
    """The key after which the list continues; None at its beginning. Raises `UserError` BAD_CURSOR."""
    return None if cursor is None else cursors.decode(request.url.path, filters, cursor)


def rest(request: Request, key: str | None, **filters: Any) -> str | None:
    """The cursor of what comes after a key; None at the end."""
    return None if key is None else cursors.encode(request.url.path, filters, key)


def page_answer(request: Request, page: Page[Any], **filters: Any) -> Response:
    """A page with the cursor of the rest."""
    return json_answer({"items": page.items, "next": rest(request, page.next, **filters)})
