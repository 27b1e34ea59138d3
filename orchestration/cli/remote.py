"""What commands that go through the service share: the client, its errors, the tenant that is meant."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestration.platform.deferred import deferred
from schemas.errors import MusterError, UserError
from schemas.ids import DEFAULT_TENANT

if TYPE_CHECKING:
    from orchestration.client.client import Client

with deferred(__name__):
    from orchestration.client import access, client, errors


@contextmanager
def service() -> "Iterator[Client]":
    """The service that the user has access to. Raises `MusterError` with the codes of the service."""
    with translated(), client.Client(access.find_access()) as found:
        yield found


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of the client as those of Muster, of the same kind and code."""
    try:
        yield
    except errors.ApiError as exc:
        record = {"kind": exc.kind, "code": exc.code, "message": exc.message, "detail": exc.values}
        raise MusterError.from_record(record) from exc


def meant_tenant(found: "Client", given: str | None) -> str:
    """The tenant that is named, or else the only one of the caller, or else `default`. Raises `UserError` NO_TENANT."""
    if given is not None:
        return given
    known = meant_tenants(found, None)
    if len(known) != 1 and DEFAULT_TENANT not in known:
        names = ", ".join(known) or "none"
        raise UserError("NO_TENANT", f"name the tenant with --tenant; yours are: {names}", tenants=known)
    return known[0] if len(known) == 1 else DEFAULT_TENANT


def meant_tenants(found: "Client", given: str | None) -> list[str]:
    """The tenant that is named, or else all in which the caller has a right."""
    return [one["tenant"] for one in found.tenants()] if given is None else [given]
