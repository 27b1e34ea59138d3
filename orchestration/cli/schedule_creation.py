"""`muster schedules create`."""

from inspect import signature
from typing import Annotated, Any, Final

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Group, command
from orchestration.cli.export_commands import export
from orchestration.cli.export_options import ExportedName, export_members
from orchestration.cli.import_target import Audience, Kind, OnlyColumns, target_of
from orchestration.cli.options import with_import_settings, with_options
from orchestration.cli.schedule_commands import Name, schedules, show_changed

create = Group(
    "schedules create",
    'muster schedules create import nightly "rate(1 day)" s3://b/f.csv -a vip',
    help_="Create a schedule for imports, exports or snapshots.",
)
schedules.add_typer(create)
When = Annotated[str, typer.Argument(metavar="WHEN", help='"rate(...)", "cron(...)" or "at(...)".')]
SINCE_LAST: Final = "last"
Zone = Annotated[
    str, typer.Option("--zone", metavar="ZONE", help="IANA time zone of cron, at and placeholders.", show_default=True)
]


def _create(tenant: str | None, name: str, when: str, zone: str, **wanted: Record) -> Record:
    with remote.service() as found:
        return found.create_schedule(remote.resolve_tenant(found, tenant), name, when, timezone=zone, **wanted)[0]


@command(
    create,
    "import",
    'muster schedules create import nightly "cron(0 6 * * ? *)" \\',
    "      s3://crm/vip-{date}.csv -a vip --zone Europe/Berlin",
    'muster schedules create import hourly "rate(1 hour)" s3://crm/vip.csv -a vip',
    'muster schedules create import orders "rate(1 hour)" s3://shop/orders.csv \\',
    "      --kind events --column total:double --timezone Europe/Berlin",
    show=show_changed,
)
@with_import_settings
def create_import(
    *,
    name: Name,
    when: When,
    source: Annotated[
        str, typer.Argument(metavar="s3://BUCKET/KEY", help="Object to import; its key may have placeholders.")
    ],
    audience: Audience = None,
    kind: Kind = "audience",
    only_columns: OnlyColumns = False,
    zone: Zone = "UTC",
    tenant: options.MeantTenant = None,
    changes: dict[str, Any],
    again: Annotated[bool, typer.Option("--again", help="Import the object even if it was imported before.")] = False,
) -> Record:
    """Import an object on a schedule.

    WHEN is an EventBridge Scheduler expression. An object that has not
    changed since its last import is skipped.
    """
    target_of(kind, audience, changes, only_columns=only_columns)
    wanted = {
        **({} if audience is None else {"audience": audience}),
        "kind": kind,
        "source": source,
        "settings": changes,
        "only_columns": only_columns,
        "again": again,
    }
    return _create(tenant, name, when, zone, imports=wanted)


def _create_export(
    *,
    name: Name,
    when: When,
    audience: ExportedName,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="download|s3://...|kafka://...",
            help="Destination; in a bucket, a different address for each run.",
        ),
    ],
    zone: Zone = "UTC",
    delta_from: Annotated[
        str | None,
        typer.Option(
            "--delta-from", metavar="last", help="Export only what has changed since this schedule's last export."
        ),
    ] = None,
    tenant: options.MeantTenant = None,
    settings: dict[str, Any],
) -> Record:
    """Export the current version of an audience, or the members of a segment, on a schedule.

    WHEN is an EventBridge Scheduler expression. An export is never replaced,
    so an address in a bucket has placeholders such as {date}, {time} or {due}.
    """
    if delta_from not in {None, SINCE_LAST}:
        raise typer.BadParameter(
            "a recurring export is whole, or has the changes since its last one", param_hint="--delta-from"
        )
    wanted = {**export_members(audience=audience, to=to, **settings), "since_last": delta_from is not None}
    return _create(tenant, name, when, zone, export=wanted)


ONE_TIME_EXPORT: Final = frozenset(
    {"name", "to", "tenant", "version", "as_of", "delta_from", "overwrite", "wait", "timeout"}
)
"""Options of `muster export` that a recurring export lacks, or has in another form."""
create_export = command(
    create,
    "export",
    'muster schedules create export daily "cron(0 7 * * ? *)" vip \\',
    "      --to s3://crm/vip/{date} --format csv --compression gzip",
    'muster schedules create export changes "rate(1 hour)" vip \\',
    "      --to s3://crm/changes/{due} --delta-from last",
    'muster schedules create export buyers "rate(1 hour)" buyers \\',
    "      --to s3://crm/buyers/{due} --delta-from last",
    show=show_changed,
)(
    with_options(
        _create_export, "settings", [p for p in signature(export).parameters.values() if p.name not in ONE_TIME_EXPORT]
    )
)


@command(
    create,
    "snapshot",
    'muster schedules create snapshot nightly "cron(0 0 * * ? *)" buyers --zone Asia/Tokyo',
    show=show_changed,
)
def create_snapshot(
    *,
    name: Name,
    when: When,
    segment: Annotated[str, typer.Argument(metavar="SEGMENT", help="Name of the segment.")],
    audience: options.SnapshotAudience = None,
    zone: Zone = "UTC",
    allow_shrink: options.AllowSnapshotShrink = False,
    tenant: options.MeantTenant = None,
) -> Record:
    """Publish a segment as a version of an audience on a schedule.

    WHEN is an EventBridge Scheduler expression.
    """
    wanted = {"segment": segment, "audience": audience, "allow_shrink": allow_shrink}
    return _create(tenant, name, when, zone, snapshot=wanted)
