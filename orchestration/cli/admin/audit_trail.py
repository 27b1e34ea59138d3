"""The audit entry of a command that bypasses the service, left even if the run was refused."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import typer

from orchestration.cli.admin.contexts import catalog_context
from orchestration.cli.console import print_note
from orchestration.cli.session import SESSION
from orchestration.platform.deferred import deferred
from schemas.errors import MusterError

if TYPE_CHECKING:
    from orchestration.composition.context import Context

with deferred(__name__):
    from orchestration.catalog import auditing

_NOT_RECORDED: Final = frozenset({"json", "tenant", "name", "yes"})
"""Arguments that the entry has elsewhere, or that change nothing."""


@contextmanager
def audited(path: str, given: Mapping[str, Any]) -> Iterator[None]:
    """Record the run of the command `path` with the arguments `given`."""
    try:
        yield
    except MusterError as exc:
        _record(path, given, exc.code)
        raise
    except typer.Abort:
        raise
    except (typer.Exit, KeyboardInterrupt):  # commands end with an Exit; Ctrl-C during a wait ends only the wait
        _record(path, given, None)
        raise
    except BaseException as exc:
        _record(path, given, type(exc).__name__)
        raise
    _record(path, given, None)


def _context() -> "Context | None":
    try:
        return catalog_context()
    except MusterError:
        return None


def _record(path: str, given: Mapping[str, Any], error: str | None) -> None:
    if (context := _context()) is None:
        return
    tenant = given.get("tenant")
    written = auditing.record(
        context.audit,
        SESSION.actor,
        path,
        "/".join(part for part in (tenant, given.get("name")) if part) or path,
        arguments={
            key: value if isinstance(value, bool | int) else str(value)
            for key, value in given.items()
            if key not in _NOT_RECORDED and value is not None
        },
        error=error,
        tenant=tenant,
    )
    context.database.close()
    if not written:
        print_note("The entry could not be written to the audit trail; it is in the log of this command.")
