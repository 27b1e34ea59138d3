"""`muster schedules create`."""

from inspect import signature
from typing import Annotated, Any, Final

import typer

from orchestration.cli import options
from orchestration.cli.export_commands import export
from orchestration.cli.export_options import export_request
from orchestration.cli.import_target import Audience, Kind, OnlyColumns, target_of
from orchestration.cli.options import command, group, with_import_settings, with_options
from orchestration.cli.schedule_rendering import print_made
from orchestration.cli.session import catalog_context

create = group(
    "create",
    "Create a schedule of imports, exports or snapshots.",
    'muster schedules create import nightly "rate(1 day)" s3://b/f.csv -a vip',
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.")]
When = Annotated[str, typer.Argument(metavar="WHEN", help='"rate(...)", "cron(...)" or "at(...)".')]
Zone = Annotated[
    str, typer.Option("--zone", metavar="ZONE", help="IANA zone of cron, at and placeholders.", show_default=True)
]


@with_import_settings
def create_import(
    *,
    name: Name,
    when: When,
    source: Annotated[
        str, typer.Argument(metavar="s3://BUCKET/KEY", help="The object; its key may have placeholders.")
    ],
    audience: Audience = None,
    kind: Kind = "audience",
    only_columns: OnlyColumns = False,
    zone: Zone = "UTC",
    tenant: options.Tenant = "default",
    changes: dict[str, Any],
    again: Annotated[bool, typer.Option("--again", help="Import an object that was imported before.")] = False,
    json: options.Json = False,
) -> None:
    """Import an object again and again.

    WHEN is an expression of EventBridge Scheduler. An object that has not
    changed since its last import is left alone.
    """
    del json
    from orchestration.operations.schedules import schedule_import
    from orchestration.platform.clock import now_ms

    target, changes = target_of(kind, audience, changes, only_columns=only_columns)
    context = catalog_context()
    made = schedule_import(
        context,
        name,
        source,
        expression=when,
        timezone=zone,
        tenant=tenant,
        audience=target,
        overrides=changes,
        again=again,
        now_ms=now_ms(),
    )
    print_made(context, made)


command(
    create,
    "import",
    'muster schedules create import nightly "cron(0 6 * * ? *)" \\',
    "      s3://crm/vip-{date}.csv -a vip --zone Europe/Berlin",
    'muster schedules create import hourly "rate(1 hour)" s3://crm/vip.csv -a vip',
    'muster schedules create import orders "rate(1 hour)" s3://shop/orders.csv \\',
    "      --kind events --column total:double --timezone Europe/Berlin",
    within="schedules",
)(create_import)


def create_export(
    *,
    name: Name,
    when: When,
    audience: options.AudienceArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="s3://...|kafka://...", help="Where it goes; files at another address for each run."
        ),
    ],
    zone: Zone = "UTC",
    delta_from: Annotated[
        str | None,
        typer.Option("--delta-from", metavar="last", help="Only what has changed since this schedule's last export."),
    ] = None,
    tenant: options.Tenant = "default",
    settings: dict[str, Any],
    json: options.Json = False,
) -> None:
    """Export the current version of an audience again and again.

    WHEN is an expression of EventBridge Scheduler. An export is never replaced,
    so an address of files has placeholders such as {date}, {time} or {due}.
    """
    del json
    from orchestration.kinds.export.recurring import SINCE_LAST
    from orchestration.operations.schedules import schedule_export
    from orchestration.platform.clock import now_ms

    if delta_from not in {None, SINCE_LAST}:
        raise typer.BadParameter("a recurring export begins from its last one, or is whole", param_hint="--delta-from")
    context = catalog_context()
    made = schedule_export(
        context,
        name,
        export_request(audience=audience, to=to, tenant=tenant, **settings),
        expression=when,
        timezone=zone,
        since_last=delta_from is not None,
        now_ms=now_ms(),
    )
    print_made(context, made)


_OF_ONE_EXPORT: Final = frozenset(
    {"name", "to", "tenant", "version", "as_of", "delta_from", "overwrite", "wait", "timeout", "json"}
)
"""Options of `muster export` that a recurring one has not, or in another form."""
command(
    create,
    "export",
    'muster schedules create export daily "cron(0 7 * * ? *)" vip \\',
    "      --to s3://crm/vip/{date} --format csv --compression gzip",
    'muster schedules create export changes "rate(1 hour)" vip \\',
    "      --to s3://crm/changes/{due} --delta-from last",
    within="schedules",
)(
    with_options(
        create_export, "settings", [p for p in signature(export).parameters.values() if p.name not in _OF_ONE_EXPORT]
    )
)
