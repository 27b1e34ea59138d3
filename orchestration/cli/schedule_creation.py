"""`muster schedules create`."""

from inspect import signature
from typing import Annotated, Any, Final

import typer

from orchestration.cli import options
from orchestration.cli.commands import Group, command
from orchestration.cli.export_commands import export
from orchestration.cli.export_options import export_request
from orchestration.cli.import_target import Audience, Kind, OnlyColumns, target_of
from orchestration.cli.options import with_import_settings, with_options
from orchestration.cli.schedule_commands import Name, record_of, schedules, show_changed
from orchestration.cli.session import catalog_context
from orchestration.client.records import Record
from orchestration.platform.clock import now_ms
from orchestration.platform.deferred import deferred
from schemas.ids import JobId

with deferred(__name__):
    from orchestration.kinds.export import recurring
    from orchestration.kinds.snapshot import request as snapshot_requests
    from orchestration.operations import schedules as operations
    from orchestration.operations import snapshots

create = Group(
    "schedules create",
    'muster schedules create import nightly "rate(1 day)" s3://b/f.csv -a vip',
    help_="Create a schedule for imports, exports or snapshots.",
)
schedules.add_typer(create)
When = Annotated[str, typer.Argument(metavar="WHEN", help='"rate(...)", "cron(...)" or "at(...)".')]
Zone = Annotated[
    str, typer.Option("--zone", metavar="ZONE", help="IANA time zone of cron, at and placeholders.", show_default=True)
]


@command(
    create,
    "import",
    'muster schedules create import nightly "cron(0 6 * * ? *)" \\',
    "      s3://crm/vip-{date}.csv -a vip --zone Europe/Berlin",
    'muster schedules create import hourly "rate(1 hour)" s3://crm/vip.csv -a vip',
    'muster schedules create import orders "rate(1 hour)" s3://shop/orders.csv \\',
    "      --kind events --column total:double --timezone Europe/Berlin",
    effect="changes",
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
    tenant: options.Tenant = "default",
    changes: dict[str, Any],
    again: Annotated[bool, typer.Option("--again", help="Import the object even if it was imported before.")] = False,
) -> Record:
    """Import an object on a schedule.

    WHEN is an EventBridge Scheduler expression. An object that has not
    changed since its last import is skipped.
    """
    target, changes = target_of(kind, audience, changes, only_columns=only_columns)
    context = catalog_context()
    created = operations.schedule_import(
        name,
        source,
        expression=when,
        timezone=zone,
        tenant=tenant,
        audience=target,
        overrides=changes,
        again=again,
        now_ms=now_ms(),
        audiences=context.audiences,
        schedules=context.schedules,
        settings=context.settings,
    )
    return record_of(context, created)


def _create_export(
    *,
    name: Name,
    when: When,
    audience: options.AudienceArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="s3://...|kafka://...", help="Destination; for files, a different address for each run."
        ),
    ],
    zone: Zone = "UTC",
    delta_from: Annotated[
        str | None,
        typer.Option(
            "--delta-from", metavar="last", help="Export only what has changed since this schedule's last export."
        ),
    ] = None,
    tenant: options.Tenant = "default",
    settings: dict[str, Any],
) -> Record:
    """Export the current version of an audience on a schedule.

    WHEN is an EventBridge Scheduler expression. An export is never replaced,
    so the address of files has placeholders such as {date}, {time} or {due}.
    """
    if delta_from not in {None, recurring.SINCE_LAST}:
        raise typer.BadParameter(
            "a recurring export is whole, or has the changes since its last one", param_hint="--delta-from"
        )
    context = catalog_context()
    created = operations.schedule_export(
        name,
        export_request(audience=audience, to=to, tenant=tenant, **settings),
        expression=when,
        timezone=zone,
        since_last=delta_from is not None,
        now_ms=now_ms(),
        audiences=context.audiences,
        schedules=context.schedules,
    )
    return record_of(context, created)


_ONE_TIME_EXPORT: Final = frozenset(
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
    effect="changes",
    show=show_changed,
)(
    with_options(
        _create_export, "settings", [p for p in signature(export).parameters.values() if p.name not in _ONE_TIME_EXPORT]
    )
)


@command(
    create,
    "snapshot",
    'muster schedules create snapshot nightly "cron(0 0 * * ? *)" buyers --zone Asia/Tokyo',
    effect="changes",
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
    tenant: options.Tenant = "default",
) -> Record:
    """Publish a segment as a version of an audience on a schedule.

    WHEN is an EventBridge Scheduler expression.
    """
    context = catalog_context()
    request = snapshot_requests.SnapshotRequest(
        job_id=JobId(""),
        tenant=tenant,
        segment=segment,
        audience=snapshots.default_audience(segment) if audience is None else audience,
        allow_shrink=allow_shrink,
    )
    created = operations.schedule_snapshot(
        name,
        request,
        expression=when,
        timezone=zone,
        now_ms=now_ms(),
        audiences=context.audiences,
        schedules=context.schedules,
        segments=context.segments,
    )
    return record_of(context, created)
