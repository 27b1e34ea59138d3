"""`muster schedules edit`."""

from collections.abc import Mapping
from inspect import signature
from typing import Annotated, Any, Final

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Group, command
from orchestration.cli.export_commands import export
from orchestration.cli.export_options import export_shape
from orchestration.cli.options import with_import_settings, with_options
from orchestration.cli.schedule_commands import Name, schedules, show_changed
from orchestration.cli.schedule_creation import ONE_TIME_EXPORT

edit = Group(
    "schedules edit",
    'muster schedules edit import nightly --when "cron(0 7 * * ? *)"',
    help_="Change when a schedule runs, or what it runs.",
)
schedules.add_typer(edit)
NewWhen = Annotated[str | None, typer.Option("--when", metavar="WHEN", help='"rate(...)", "cron(...)" or "at(...)".')]
NewZone = Annotated[
    str | None, typer.Option("--zone", metavar="ZONE", help="IANA time zone of cron, at and placeholders.")
]

ShrinkGuard = Annotated[
    bool | None,
    typer.Option("--allow-shrink/--guard-shrink", help="Publish or refuse a version that has lost most members."),
]


def _edit(tenant: str | None, name: str, when: str | None, zone: str | None, **requests: Mapping[str, Any]) -> Record:
    changes = _given(expression=when, timezone=zone, **{kind: request or None for kind, request in requests.items()})
    if not changes:
        raise typer.BadParameter("name an option to change; `--help` lists them")
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        _, etag = found.schedule_with_etag(meant, name)
        return found.change_schedule(meant, name, etag=etag, **changes)[0]


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@command(
    edit,
    "import",
    'muster schedules edit import nightly --when "cron(0 7 * * ? *)" --zone Asia/Tokyo',
    "muster schedules edit import nightly --source s3://crm/new/vip-{date}.csv --mode append",
    "muster schedules edit import nightly --inherit mode --inherit format",
    show=show_changed,
)
@with_import_settings
def edit_import(
    *,
    name: Name,
    when: NewWhen = None,
    zone: NewZone = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="s3://BUCKET/KEY", help="Object to import; its key may have placeholders."),
    ] = None,
    only_columns: Annotated[
        bool | None,
        typer.Option("--only-columns/--other-columns", help="For events and profiles: keep other columns or not."),
    ] = None,
    again: Annotated[
        bool | None,
        typer.Option("--again/--skip-unchanged", help="Import or skip an object that has not changed."),
    ] = None,
    inherit: Annotated[
        list[str] | None,
        typer.Option("--inherit", metavar="OPTION", help="Make this option follow the audience again."),
    ] = None,
    tenant: options.MeantTenant = None,
    changes: dict[str, Any],
) -> Record:
    """Change a recurring import.

    Omitted options stay. A run that has been started continues.
    """
    settings = {**changes, **options.unset("--inherit", inherit or (), options.SETTINGS, changes)}
    request = _given(source=source, only_columns=only_columns, again=again, settings=settings or None)
    return _edit(tenant, name, when, zone, imports=request)


def _edit_export(
    *,
    name: Name,
    when: NewWhen = None,
    zone: NewZone = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="download|s3://...|kafka://...", help="Destination.")
    ] = None,
    since_last: Annotated[
        bool | None,
        typer.Option("--since-last/--whole", help="Export what has changed since the last export, or everything."),
    ] = None,
    allow_shrink: ShrinkGuard = None,
    tenant: options.MeantTenant = None,
    settings: dict[str, Any],
) -> Record:
    """Change a recurring export.

    Omitted options stay. An empty text removes --where, --attributes,
    --suppress and --partition-by. A run that has been started continues.
    """
    lists = {name: [text for text in settings[name] or () if text] for name in ("attributes", "suppress")}
    shape = export_shape(
        settings["where"] or None,
        lists["attributes"],
        lists["suppress"],
        settings["columns"],
        settings["partition_by"],
    ).as_record()
    style = {part.removesuffix("_"): value for part, value in settings.items() if part not in shape}
    request = _given(to=to, since_last=since_last, allow_shrink=allow_shrink, **style)
    request |= {part: value for part, value in shape.items() if settings[part] is not None}
    return _edit(tenant, name, when, zone, export=request)


_SETTINGS: Final = [
    p.replace(default=None)
    for n, p in signature(export).parameters.items()
    if n not in {*ONE_TIME_EXPORT, "allow_shrink"}
]
edit_export = command(
    edit,
    "export",
    "muster schedules edit export daily --to s3://crm/vip/{date} --format csv",
    "muster schedules edit export daily --where 'country = \"JP\"'",
    show=show_changed,
)(with_options(_edit_export, "settings", _SETTINGS))


@command(
    edit,
    "snapshot",
    'muster schedules edit snapshot nightly --when "rate(12 hours)"',
    show=show_changed,
)
def edit_snapshot(
    *,
    name: Name,
    when: NewWhen = None,
    zone: NewZone = None,
    audience: Annotated[str | None, typer.Option("--audience", "-a", metavar="NAME", help="Target audience.")] = None,
    allow_shrink: ShrinkGuard = None,
    tenant: options.MeantTenant = None,
) -> Record:
    """Change a recurring snapshot.

    Omitted options stay. A run that has been started continues.
    """
    request = _given(audience=audience, allow_shrink=allow_shrink)
    return _edit(tenant, name, when, zone, snapshot=request)
