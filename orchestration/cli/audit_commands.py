"""`muster audit`."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Group, command
from orchestration.cli.console import print_note, print_table
from orchestration.cli.formatting import text_time
from orchestration.platform.clock import iso, now_ms
from schemas.errors import UserError

if TYPE_CHECKING:
    from muster.client import Client

TOP = Group("")
_FIELDS: Final = ("at", "job", "actor", "action", "object", "arguments", "before", "after", "error")
_UNITS_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_READ_ALL: Final = "manage_access"


def _records(entries: Sequence[Record]) -> list[dict[str, Any]]:
    return [{name: entry[name] for name in _FIELDS} for entry in entries]


def _show(entries: Sequence[Record]) -> None:
    if not entries:
        print_note("No matching entries.")
        return
    print_table(
        ("AT (UTC)", "ACTOR", "ACTION", "OBJECT", "JOB", "WITH"),
        [
            (
                text_time(e["at"]),
                e["actor"],
                e["action"],
                e["object"],
                e["job"] or "",
                _with(e["arguments"], e["error"]),
            )
            for e in entries
        ],
    )


def _with(arguments: Mapping[str, Any], error: str | None) -> str:
    given = ", ".join(f"{k}={v}" for k, v in arguments.items() if v not in (None, [], False, ""))
    return f"{given} refused: {error}".strip() if error else given


@command(
    TOP,
    "audit",
    "muster audit --audience vip --since 7d",
    "muster audit --job JOB --json",
    show=_show,
    record=_records,
)
def audit(
    *,
    job: Annotated[str | None, typer.Option("--job", metavar="JOB", help="Limit to this job.")] = None,
    audience: options.OnlyAudience = None,
    tenant: options.OnlyTenant = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Limit to newer entries: 12h, 7d, or a date in UTC.")
    ] = None,
    limit: options.NewestLimit = 100,
) -> Sequence[Record]:
    """Show who did what: users, and Muster itself.

    Of all tenants, for administrators of the deployment; of one tenant for others.
    """
    began = None if since is None else iso(max(0, since_ms(since, now_ms())))
    with remote.service() as found:
        meant = None if job is None else remote.meant_job(found, job)
        given = {"job": meant, "since": began, "limit": limit}
        return list(_entries(found, tenant, audience, given))[::-1]


def _entries(found: "Client", tenant: str | None, audience: str | None, given: Mapping[str, Any]) -> Sequence[Record]:
    if audience is not None:
        tenant = remote.resolve_tenant(found, tenant)
    if _READ_ALL not in found.me()["rights"]["deployment"]:
        return list(found.audit(remote.resolve_tenant(found, tenant), audience=audience, **given))
    if audience is not None:  # entries of earlier releases have no tenant, but an object
        return list(found.whole_audit(on=f"{tenant}/{audience}", **given))
    return list(found.whole_audit(tenant=tenant, **given))


def since_ms(text: str, now_ms: int) -> int:
    """Parse `30m`, `12h`, `7d`, or a date (and time), in UTC unless it has an offset. Raises `UserError` BAD_TIME."""
    if found := re.fullmatch(r"(\d{1,6})([mhd])", text):
        return now_ms - int(found[1]) * _UNITS_MS[found[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise UserError("BAD_TIME", f"{text!r} is neither a duration such as 12h or 7d nor a date", text=text) from exc
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
