"""`muster audiences build`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.audience_commands import audiences
from orchestration.cli.commands import Answer, command
from orchestration.cli.console import print_line, print_pairs
from orchestration.cli.following import Followed, Submitted, show_started, submitted
from orchestration.cli.formatting import number
from orchestration.platform.deferred import deferred
from schemas.ids import JobId
from schemas.sql_text import literal

with deferred(__name__):
    from orchestration.cli import spec_changes

TRIED: Final = """
with built as ({sql}
), current as ({current})
select count(*), count(user_id), count(distinct user_id),
    count(distinct user_id) filter (user_id in (select user_id from current)), (select count(*) from current)
from built
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a query finds: rows, users, and users who are members of the current version, of so many."""

    columns: Sequence[Record]
    rows: int
    with_id: int
    users: int
    known: int
    members: int

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "columns": list(self.columns),
            "rows": self.rows,
            "without_id": self.rows - self.with_id,
            "duplicates": self.with_id - self.users,
            "users": self.users,
            "users_in_current": self.known,
            "current_members": self.members,
        }


def _show(found: Submitted | Followed | Tried | Record) -> None:
    match found:
        case Tried():
            columns = ", ".join(f"{one['name']} ({one['type']})" for one in found.columns)
            shown = {name: number(value) for name, value in found.as_record().items() if name != "columns"}
            print_pairs([("columns", columns), *((name.replace("_", " "), value) for name, value in shown.items())])
        case Submitted() | Followed():
            show_started(found)
        case _:
            print_line(f"schedule {found['name']} builds {found['request']['audience']}: {found['expression']}")


@command(
    audiences,
    "build",
    "muster audiences build lapsed --wait \\",
    "      --sql \"from audience('buyers') anti join events('purchase', since => '30d') using (user_id)\"",
    "muster audiences build lapsed --sql - --dry-run < lapsed.sql",
    'muster audiences build lapsed --sql - --schedule "rate(1 day)" < lapsed.sql',
    show=_show,
)
def build(
    *,
    name: options.AudienceArgument,
    sql: Annotated[
        str, typer.Option("--sql", metavar="QUERY", help="One SELECT with a column user_id; - reads it from stdin.")
    ],
    mode: options.Mode = None,
    allow_empty: options.AllowEmpty = None,
    max_reject_share: options.MaxRejectShare = None,
    allow_shrink: options.AllowShrink = False,
    max_shrink: options.MaxShrink = None,
    drop_column: options.DropColumns = None,
    retype: options.Retyped = None,
    schedule: Annotated[
        str | None,
        typer.Option("--schedule", metavar="WHEN", help='Build repeatedly: "rate(...)", "cron(...)".'),
    ] = None,
    schedule_name: Annotated[
        str | None, typer.Option("--schedule-name", metavar="NAME", help="Name of the schedule [build-AUDIENCE].")
    ] = None,
    zone: Annotated[str, typer.Option("--zone", metavar="ZONE", help="IANA time zone of the schedule.")] = "UTC",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Run the query and count; change nothing.")] = False,
    tenant: options.MeantTenant = None,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
) -> Answer[Submitted | Followed | Tried | Record]:
    """Make the users that a query finds the next version of an audience.

    Columns besides user_id become columns of the audience. A missing audience is created.
    """
    if dry_run and (wait or schedule is not None):
        raise typer.BadParameter("--dry-run starts no job: --wait and --schedule do not apply")
    if schedule is not None and wait:
        raise typer.BadParameter("a schedule starts its jobs later: --wait does not apply")
    if allow_shrink and max_shrink is not None:
        raise typer.BadParameter("give --allow-shrink or --max-shrink, not both")
    settings = spec_changes.spec_changes(
        mode=mode,
        max_reject_share=max_reject_share,
        allow_empty=allow_empty,
        allow_shrink=allow_shrink,
        max_shrink=max_shrink,
        drop_columns=drop_column or (),
        retype_columns=retype or (),
    )
    text = (sys.stdin.read() if sql == "-" else sql).strip().rstrip(";")
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        if dry_run:
            return Answer(value=_tried(found, meant, name, text))
        if schedule is not None:
            wanted = {"audience": name, "sql": text, "settings": settings}
            named = schedule_name or f"build-{name}"[:63]
            return Answer(value=found.create_schedule(meant, named, schedule, timezone=zone, imports=wanted)[0])
        job = JobId(found.start_import(meant, audience=name, sql=text, settings=settings)["job"])
    started = submitted(job, wait=wait, timeout_s=timeout)
    return Answer(value=started.value, notes=started.notes, code=started.code)


def _tried(found: Any, tenant: str, audience: str, sql: str) -> Tried:
    """Two queries, since a job of its own would leave a trace."""
    with remote.translated():
        named = [one for one in found.audiences(tenant, current=True) if one["audience"] == audience]
        published = bool(named) and named[0].get("current") is not None
        current = f"from audience({literal(audience)})" if published else "select ''::varchar as user_id where false"
        with found.stream_query(tenant, f"describe {sql}") as (_, rows):
            columns = [{"name": row[0], "type": row[1]} for row in rows]
        with found.stream_query(tenant, TRIED.format(sql=sql, current=current)) as (_, rows):
            counts = next(rows)
    return Tried(
        columns=columns, rows=counts[0], with_id=counts[1], users=counts[2], known=counts[3], members=counts[4]
    )
