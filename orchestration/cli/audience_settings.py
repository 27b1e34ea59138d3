"""`muster audiences create` and `configure`."""

from typing import Annotated, Any, Final, cast, get_args

import typer

from orchestration.cli import options, remote
from orchestration.cli.audience_commands import (
    ActivityView,
    AudienceView,
    KeepDays,
    KeepVersions,
    audiences,
    show_view,
    with_etag,
)
from orchestration.cli.commands import Answer, command
from orchestration.cli.options import with_import_settings
from schemas.file_lists import Folders
from schemas.import_targets import kind_of_target

RETENTION: Final = {"keep-versions": "versions", "keep-days": "days"}
RESETTABLE: Final = {
    **{option: name for option, name in options.SETTINGS.items() if name not in ("drop_columns", "retype_columns")},
    **RETENTION,
}
"""Not the permissions for columns, which last until a version has used them."""


@command(
    audiences,
    "create",
    "muster audiences create vip --id-column email --column age:long=Age",
    "muster audiences create daily --max-reject-share 0.01 --keep-versions 30",
    show=show_view,
)
@with_import_settings
def create(
    *,
    name: options.AudienceArgument,
    tenant: options.MeantTenant = None,
    changes: dict[str, Any],
    keep_versions: KeepVersions = None,
    keep_days: KeepDays = None,
) -> AudienceView:
    """Create an audience.

    An import into a missing audience also creates it, once its version is published.
    """
    retention = _retention(keep_versions, keep_days)
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        made, _ = found.create_audience(meant, name, settings=changes, retention=retention)
    return AudienceView(audience=made)


@command(
    audiences,
    "configure",
    "muster audiences configure vip --mode append --max-shrink 20",
    "muster audiences configure vip --column age:long --column city",
    "muster audiences configure vip --drop-column city",
    "muster audiences configure vip --allow-missing-column plan",
    "muster audiences configure vip --folders sets",
    "muster audiences configure vip --reset mode --reset keep-days",
    "muster audiences configure _profiles --column age:double",
    show=show_view,
)
@with_import_settings
def configure(
    *,
    name: options.AudienceArgument,
    tenant: options.MeantTenant = None,
    changes: dict[str, Any],
    keep_versions: KeepVersions = None,
    keep_days: KeepDays = None,
    folders: Annotated[
        str | None,
        typer.Option(
            "--folders",
            metavar="files|sets",
            help="A folder in the inbox: each file is an import, or all together once _SUCCESS has come.",
        ),
    ] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option("--reset", metavar="OPTION", help="Reset this option to its default."),
    ] = None,
    notify_email: options.Emails = None,
    notify_webhook: options.Webhooks = None,
    notify_nobody: options.Nobody = False,
) -> Answer[AudienceView | ActivityView]:
    """Change the settings of an audience.

    Sets how its files are imported, which versions are kept, and who is notified. Omitted options stay unchanged;
    --column and --notify-* replace all of their kind. Running jobs keep their settings. _events and _profiles hold the
    settings of the tenant; there, each --column is added.
    """
    kept = _retention(keep_versions, keep_days)
    unset = options.unset("--reset", reset or (), RESETTABLE, {**changes, **kept})
    retention = {**kept, **{name: unset.pop(name) for name in RETENTION.values() if name in unset}}
    settings = {**changes, **unset}
    recipients = {
        channel: addresses or []
        for channel, addresses in (("email", notify_email), ("webhook", notify_webhook))
        if addresses or notify_nobody
    }
    kind = kind_of_target(name)
    if folders not in {None, *get_args(Folders)}:
        raise typer.BadParameter(f"{folders} is not one of {', '.join(get_args(Folders))}", param_hint="--folders")
    if kind != "audience" and (retention or recipients or folders):
        raise typer.BadParameter(
            f"{name} has only import settings: it has no versions, recipients or folders of its own"
        )
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        if kind != "audience":
            changed = found.configure_activity(meant, kind, settings)
            return Answer(value=ActivityView(activity=changed, name=name))
        audience, _ = with_etag(
            found,
            meant,
            name,
            lambda etag: found.configure_audience(
                meant,
                name,
                settings=settings,
                retention=retention,
                folders=cast("Folders | None", folders),
                recipients=recipients,
                etag=etag,
            ),
        )
    return Answer(value=AudienceView(audience=audience), notes=audience["warnings"])


def _retention(versions: int | None, days: int | None) -> dict[str, int]:
    return {name: value for name, value in (("versions", versions), ("days", days)) if value is not None}
