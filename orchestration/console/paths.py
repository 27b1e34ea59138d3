"""Paths of pages. They mirror those of the API."""

from typing import Final
from urllib.parse import quote, urlencode

from orchestration.api.routes.login import CONFIRM_PATH

PREFIX: Final = "/console"
STATIC: Final = f"{PREFIX}/static/"
LOGIN: Final = f"{PREFIX}/login"
OPEN: Final = CONFIRM_PATH
PREFERENCES: Final = f"{PREFIX}/preferences"
IN_TENANT: Final = f"{PREFIX}/tenants/{{tenant}}"


def in_tenant(tenant: str, *parts: str, **query: str | list[str] | None) -> str:
    """The path of a page in a tenant."""
    path = "/".join([PREFIX, "tenants", *(quote(part, safe="") for part in (tenant, *parts))])
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def is_page(path: str) -> bool:
    """Whether the console answers at a path."""
    return path in {"/", PREFIX} or path.startswith(f"{PREFIX}/")


def is_public(path: str) -> bool:
    """Whether a page needs no login."""
    return path in {"/", LOGIN, OPEN, PREFERENCES} or path.startswith(STATIC)
