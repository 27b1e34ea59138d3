"""What commands that go through the service share: the client, its errors, the tenant."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import typer

from orchestration.cli.session import SESSION
from orchestration.platform.deferred import deferred
from schemas.errors import MusterError, UserError
from schemas.ids import DEFAULT_TENANT, job_id, tenant_name
from schemas.job_kinds import id_of

if TYPE_CHECKING:
    from muster.client import Client

with deferred(__name__):
    from muster import access, client, errors

PREFIX: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{1,25}", re.IGNORECASE)
"""The beginning of a ULID."""


@contextmanager
def service() -> "Iterator[Client]":
    """The service that the user has access to. Raises `MusterError` with the codes of the service."""
    with translated(), client.Client(access.find_access(), note=SESSION.note) as found:
        yield found


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of the client as those of Muster, of the same kind and code."""
    try:
        yield
    except errors.ApiError as exc:
        record = {"kind": exc.kind, "code": exc.code, "message": exc.message, "detail": exc.values}
        raise MusterError.from_record(record) from exc


def resolve_tenant(found: "Client", given: str | None) -> str:
    """The tenant that is named, or else the only one of the caller, or else `default`.

    Raises `UserError` BAD_NAME, NO_TENANT.
    """
    if given is not None:
        return tenant_name(given)
    known = meant_tenants(found, None)
    if len(known) != 1 and DEFAULT_TENANT not in known:
        names = ", ".join(known) or "none"
        raise UserError("NO_TENANT", f"name the tenant with --tenant; yours are: {names}", tenants=known)
    return known[0] if len(known) == 1 else DEFAULT_TENANT


def meant_tenants(found: "Client", given: str | None) -> list[str]:
    """The tenant that is named, or else all in which the caller has a right."""
    return [one["tenant"] for one in found.tenants()] if given is None else [given]


def meant_job(found: "Client", given: str | None, *, latest: bool = False) -> str:
    """The id of the job that is named, by its id or the beginning of it, or of the newest job.

    Raises `UserError` BAD_JOB_ID, UNKNOWN_JOB, AMBIGUOUS_JOB, and `typer.BadParameter` unless one of the two is given.
    """
    if (given is None) != latest:
        raise typer.BadParameter("name a job by its id or the beginning of it, or use --latest", param_hint="JOB")
    if given is not None and PREFIX.fullmatch(given) is None:
        return job_id(given)
    begun = None if given is None else given.lower()
    jobs = [id_of(one) for one in found.all_jobs(begins=begun, limit=1 if latest else 2)]
    if not jobs and latest:
        raise UserError("UNKNOWN_JOB", "there are no jobs yet")
    if not jobs:
        raise UserError("UNKNOWN_JOB", f"no job id begins with {given}; `muster jobs list` shows all jobs", job=given)
    if len(jobs) > 1:
        some = " and ".join(jobs)
        raise UserError("AMBIGUOUS_JOB", f"several job ids begin with {given}, among them {some}", jobs=jobs)
    return jobs[0]
