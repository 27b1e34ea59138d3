"""`muster audiences`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, print_pairs, print_table
from orchestration.cli.formatting import age, number
from orchestration.cli.notification_commands import (
    Emails,
    Nobody,
    Webhooks,
    change_recipients,
)
from orchestration.cli.options import command, group, with_import_settings
from orchestration.cli.session import SESSION, catalog_context, lake_context, settings

if TYPE_CHECKING:
    from orchestration.catalog.records import Audience
    from orchestration.context import Context
    from schemas.columns import Column
    from schemas.import_spec import ImportSpec
    from segmentation.versions import TableAddress, VersionInfo

audiences = group(
    "audiences",
    "Audiences and their versions.",
    "muster audiences list",
    "muster audiences versions vip",
    "muster audiences rollback vip --to 3",
)
KeepVersions = Annotated[
    int | None, typer.Option("--keep-versions", metavar="N", help="Versions kept whatever their age [10].")
]
KeepDays = Annotated[int | None, typer.Option("--keep-days", metavar="DAYS", help="Age up to which all are kept [30].")]


def add_to(app: typer.Typer) -> None:
    """Register the group."""
    app.add_typer(audiences)


@command(
    audiences,
    "create",
    "muster audiences create vip --id-column email --column age:long=Age",
    "muster audiences create daily --max-reject-share 0.01 --keep-versions 30",
)
@with_import_settings
def create(
    *,
    name: options.AudienceArgument,
    tenant: options.Tenant = "default",
    changes: dict[str, Any],
    keep_versions: KeepVersions = None,
    keep_days: KeepDays = None,
    json: options.Json = False,
) -> None:
    """Create an audience.

    An import into an unknown name does the same once its version is published.
    """
    del json
    from orchestration.operations import audiences as operations

    context = catalog_context()
    made = operations.create(context, tenant, name, changes, _retention(keep_versions, keep_days))
    _print_audience(context, made, None)


@command(
    audiences,
    "configure",
    "muster audiences configure vip --mode append --max-shrink 20",
    "muster audiences configure vip --column age:long --column city",
    "muster audiences configure vip --drop-column city",
    "muster audiences configure _profiles --column age:double",
)
@with_import_settings
def configure(
    *,
    name: options.AudienceArgument,
    tenant: options.Tenant = "default",
    changes: dict[str, Any],
    keep_versions: KeepVersions = None,
    keep_days: KeepDays = None,
    notify_email: Emails = None,
    notify_webhook: Webhooks = None,
    notify_nobody: Nobody = False,
    json: options.Json = False,
) -> None:
    """Change the settings of an audience.

    How its files are imported, which versions are kept, who is told. What is not said stays; --column and
    --notify-* replace all of their kind. Running jobs keep what they have. _events and _profiles are those of
    the tenant: a --column is then added.
    """
    del json
    from orchestration.operations.notifying import check_recipients
    from schemas.import_targets import kind_of_target

    check_recipients(settings(), notify_email or (), notify_webhook or ())
    from orchestration.operations import audiences as operations

    context = catalog_context() if operations.COLUMN_KEYS.isdisjoint(changes) else lake_context()
    if (kind := kind_of_target(name)) != "audience":
        if keep_versions or keep_days or notify_email or notify_webhook or notify_nobody:
            raise typer.BadParameter(f"{name} has import settings alone: neither versions nor recipients of its own")
        _print_activity(tenant, name, operations.configure_activity(context, tenant, kind, changes))
        return
    changed = operations.configure(context, tenant, name, changes, _retention(keep_versions, keep_days))
    change_recipients(context, changed, notify_email, notify_webhook, nobody=notify_nobody)
    _print_audience(context, changed, None)


@command(audiences, "list", "muster audiences list", "muster audiences list --tenant acme --json")
def list_(
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="Only of this one.")] = None,
    json: options.Json = False,
) -> None:
    """List audiences with their current version."""
    del json
    from orchestration.catalog.references import ref_of
    from orchestration.operations.audiences import audience_record
    from orchestration.platform.clock import now_ms
    from schemas.ids import tenant_name

    context = lake_context()
    found = context.audiences.all(None if tenant is None else tenant_name(tenant))
    current = {a.audience_id: context.versions.current(ref_of(a)) for a in found}
    if SESSION.json:
        print_json([audience_record(a, current[a.audience_id]) for a in found])
        return
    now = now_ms()
    print_table(
        ("AUDIENCE", "VERSION", "MEMBERS", "PUBLISHED"),
        [(f"{a.tenant}/{a.name}", *_version_cells(current[a.audience_id], now)) for a in found],
        right=("VERSION", "MEMBERS", "PUBLISHED"),
    )


@command(audiences, "show", "muster audiences show vip")
def show(*, name: options.AudienceArgument, tenant: options.Tenant = "default", json: options.Json = False) -> None:
    """Show an audience: version and settings."""
    del json
    from orchestration.catalog.references import ref_of
    from orchestration.kinds.wiring import specs
    from orchestration.operations.audiences import activity_settings, find
    from schemas.import_targets import kind_of_target

    if (kind := kind_of_target(name)) != "audience":
        _print_activity(tenant, name, activity_settings(catalog_context(), tenant, kind))
        return
    context = lake_context()
    audience = find(context, tenant, name)
    ref = ref_of(audience)
    audience = replace(audience, spec=specs(context).present(audience))
    _print_audience(context, audience, context.versions.current(ref), context.versions.address(ref))


@command(audiences, "rename", "muster audiences rename vip very-important")
def rename(
    *,
    name: options.AudienceArgument,
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="The new name.")],
    tenant: options.Tenant = "default",
) -> None:
    """Give an audience another name.

    Versions and history stay.
    """
    from orchestration.operations import audiences as operations

    context = lake_context()
    renamed = operations.rename(context, operations.find(context, tenant, name), new_name)
    print_line(f"audience {tenant}/{name} is now {tenant}/{renamed.name}")


@command(audiences, "delete", "muster audiences delete vip --yes")
def delete(
    *,
    name: options.AudienceArgument,
    tenant: options.Tenant = "default",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete an audience with all its versions.

    For good. Jobs and receipts stay.
    """
    from orchestration.operations import audiences as operations

    context = lake_context()
    audience = operations.find(context, tenant, name)
    if not yes:
        typer.confirm(f"Delete audience {tenant}/{name} with all its versions?", abort=True, err=True)
    operations.delete(context, audience)
    print_line(f"audience {tenant}/{name} is deleted")


def _retention(versions: int | None, days: int | None) -> dict[str, int]:
    return {name: value for name, value in (("versions", versions), ("days", days)) if value is not None}


def _version_cells(info: "VersionInfo | None", now: int) -> tuple[str, str, str]:
    if info is None:
        return "-", "-", "-"
    return f"v{info.version}", number(info.members), age(int(info.published_at.timestamp() * 1000), now) + " ago"


def _print_audience(
    context: "Context",
    audience: "Audience",
    current: "VersionInfo | None",
    address: "TableAddress | None" = None,
) -> None:
    from orchestration.operations.audiences import audience_record
    from orchestration.operations.notifying import recipients_record

    told = context.recipients.told(audience.tenant, audience.audience_id)
    if SESSION.json:
        table = {} if address is None else {"table": address.as_record()}
        print_json({**audience_record(audience, current), **table, "told": recipients_record(told)})
        return
    spec = audience.spec
    shrink = "any" if spec.max_shrink_percent is None else f"at most {spec.max_shrink_percent:g} %"
    pairs: list[tuple[str, object]] = [("audience", f"{audience.tenant}/{audience.name}")]
    if current is not None:
        pairs.append(("current", f"version {current.version}, {number(current.members)} members"))
    if address is not None:
        pairs.append(("table", f"{address.name} at {address.location}"))
    pairs += [
        ("mode", spec.mode),
        ("id column", spec.id_column),
        ("columns", _columns(spec.columns)),
        *([("may drop", ", ".join(spec.drop_columns))] if spec.drop_columns else []),
        *([("may retype", ", ".join(spec.retype_columns))] if spec.retype_columns else []),
        ("format", spec.format or "by the name of the file"),
        ("time zone", spec.timezone or "none: times need an offset"),
        ("rejects", f"at most {spec.max_reject_share * 100:g} % of the rows"),
        ("empty file", "accepted" if spec.allow_empty else "refused"),
        ("shrinking", shrink),
        ("kept", f"{audience.retention.versions} versions, and all younger than {audience.retention.days} days"),
        ("told", ", ".join(r.shown for r in told) or "nobody"),
    ]
    print_pairs(pairs)


def _print_activity(tenant: str, name: str, spec: "ImportSpec") -> None:
    """How files of events or profiles are read; columns that are not known are kept as the file has them."""
    if SESSION.json:
        print_json({"tenant": tenant, "audience": name, "spec": spec.as_record()})
        return
    print_pairs(
        [
            (spec.kind, f"of {tenant}"),
            ("id column", spec.id_column),
            ("columns", _columns(spec.columns)),
            ("known types", _columns(spec.known_columns)),
            ("format", spec.format or "by the name of the file"),
            ("time zone", spec.timezone or "none: times need an offset"),
            ("rejects", f"at most {spec.max_reject_share * 100:g} % of the rows"),
            ("empty file", "accepted" if spec.allow_empty else "refused"),
        ]
    )


def _columns(columns: "Sequence[Column]") -> str:
    return ", ".join(f"{c.name}:{c.type}" + (f"={c.source}" if c.source else "") for c in columns) or "none"
