"""Paths of pages. They mirror those of the API."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request

from orchestration.api.paging import rest, start
from orchestration.api.routes.login import CONFIRM_PATH

PREFIX: Final = "/console"
STATIC: Final = f"{PREFIX}/static/"
LOGIN: Final = f"{PREFIX}/login"
OPEN: Final = CONFIRM_PATH
PREFERENCES: Final = f"{PREFIX}/preferences"
IN_TENANT: Final = f"{PREFIX}/tenants/{{tenant}}"


def in_tenant(tenant: str, *parts: str, **query: str | list[str] | None) -> str:
    """The path of a page in a tenant."""
    return _with_query("/".join([PREFIX, "tenants", *(quote(part, safe="") for part in (tenant, *parts))]), query)


def _with_query(path: str, query: Mapping[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def page_start(request: Request, /, **filters: Any) -> str | None:
    """The key after which a page of a list begins; None at its beginning. Raises `UserError` BAD_CURSOR."""
    return start(request, request.query_params.get("cursor"), **filters)


def next_page(request: Request, key: str | None, /, **filters: Any) -> str | None:
    """The path of the page of a list that follows a key; None at the end."""
    cursor = rest(request, key, **filters)
    return None if cursor is None else _with_query(request.url.path, {**filters, "cursor": cursor})


def is_page(path: str) -> bool:
    """Whether the console answers at a path."""
    return path in {"/", PREFIX} or path.startswith(f"{PREFIX}/")


def is_public(path: str) -> bool:
    """Whether a page needs no login."""
    return path in {"/", LOGIN, OPEN, PREFERENCES} or path.startswith(STATIC)
