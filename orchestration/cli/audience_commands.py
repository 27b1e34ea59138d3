"""`muster audiences`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.catalog.references import ref_of
from orchestration.cli import options
from orchestration.cli.commands import Done, Group, command, show_done
from orchestration.cli.console import print_note, print_pairs, print_table
from orchestration.cli.formatting import age, number
from orchestration.cli.options import with_import_settings
from orchestration.cli.session import catalog_context, lake_context, settings
from orchestration.platform.clock import now_ms
from orchestration.platform.deferred import deferred
from schemas.ids import tenant_name
from schemas.import_targets import kind_of_target
from schemas.records import as_record

if TYPE_CHECKING:
    from orchestration.catalog.records import Audience
    from orchestration.context import Context
    from orchestration.notifications.recipients import Recipient
    from schemas.columns import Column
    from schemas.import_spec import ImportSpec
    from segmentation.versions import TableAddress, VersionInfo

with deferred(__name__):
    from orchestration.kinds import wiring
    from orchestration.operations import audiences as operations
    from orchestration.operations import notifying

TOP = Group("")
audiences = Group(
    "audiences", "muster audiences list", "muster audiences versions vip", "muster audiences rollback vip --to 3"
)
TOP.add_typer(audiences)
KeepVersions = Annotated[
    int | None, typer.Option("--keep-versions", metavar="N", help="Number of versions kept regardless of age [10].")
]
KeepDays = Annotated[
    int | None, typer.Option("--keep-days", metavar="DAYS", help="Age up to which all versions are kept [30].")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceView:
    """An audience with its current version and recipients, and on request the address of its table."""

    audience: "Audience"
    recipients: "Sequence[Recipient]"
    current: "VersionInfo | None" = None
    address: "TableAddress | None" = None

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        table = {} if self.address is None else {"table": as_record(self.address)}
        recipients = {"told": notifying.recipients_record(self.recipients)}
        return {**operations.audience_with_current(self.audience, self.current), **table, **recipients}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityView:
    """How files of events or profiles of a tenant are read; unknown columns are kept as they are in the file.

    `name` is the reserved one.
    """

    tenant: str
    name: str
    spec: "ImportSpec"

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"tenant": self.tenant, "audience": self.name, "spec": self.spec.as_record()}


def _view_of(context: "Context", audience: "Audience") -> AudienceView:
    return AudienceView(
        audience=audience, recipients=context.recipients.notified(audience.tenant, audience.audience_id)
    )


def _show_view(view: AudienceView | ActivityView) -> None:
    print_pairs(_activity_pairs(view) if isinstance(view, ActivityView) else _audience_pairs(view))


def _audience_pairs(view: AudienceView) -> list[tuple[str, object]]:
    audience, spec = view.audience, view.audience.spec
    shrink = "any" if spec.max_shrink_percent is None else f"at most {spec.max_shrink_percent:g} %"
    pairs: list[tuple[str, object]] = [("audience", f"{audience.tenant}/{audience.name}")]
    if view.current is not None:
        pairs.append(("current", f"version {view.current.version}, {number(view.current.members)} members"))
    if view.address is not None:
        pairs.append(("table", f"{view.address.name} at {view.address.location}"))
    return [
        *pairs,
        ("mode", spec.mode),
        ("id column", spec.id_column),
        ("columns", _columns(spec.columns)),
        *([("may drop", ", ".join(spec.drop_columns))] if spec.drop_columns else []),
        *([("may retype", ", ".join(spec.retype_columns))] if spec.retype_columns else []),
        *_reading_pairs(spec),
        ("shrinking", shrink),
        ("kept", f"{audience.retention.versions} versions, and all younger than {audience.retention.days} days"),
        ("notified", ", ".join(r.shown for r in view.recipients) or "nobody"),
    ]


def _activity_pairs(view: ActivityView) -> list[tuple[str, object]]:
    return [
        (view.spec.kind, f"of {view.tenant}"),
        ("id column", view.spec.id_column),
        ("columns", _columns(view.spec.columns)),
        ("known types", _columns(view.spec.known_columns)),
        *_reading_pairs(view.spec),
    ]


def _reading_pairs(spec: "ImportSpec") -> list[tuple[str, object]]:
    return [
        ("format", spec.format or "from the file name"),
        ("time zone", spec.timezone or "none: times need an offset"),
        ("rejects", f"at most {spec.max_reject_share * 100:g} % of the rows"),
        ("empty file", "accepted" if spec.allow_empty else "refused"),
    ]


def _columns(columns: "Sequence[Column]") -> str:
    return ", ".join(f"{c.name}:{c.type}" + (f"={c.source}" if c.source else "") for c in columns) or "none"


@command(
    audiences,
    "create",
    "muster audiences create vip --id-column email --column age:long=Age",
    "muster audiences create daily --max-reject-share 0.01 --keep-versions 30",
    effect="changes",
    show=_show_view,
)
@with_import_settings
def create(
    *,
    name: options.AudienceArgument,
    tenant: options.Tenant = "default",
    changes: dict[str, Any],
    keep_versions: KeepVersions = None,
    keep_days: KeepDays = None,
) -> AudienceView:
    """Create an audience.

    An import into a missing audience also creates it, once its version is published.
    """
    context = catalog_context()
    return _view_of(
        context, operations.create(context.audiences, tenant, name, changes, _retention(keep_versions, keep_days))
    )


@command(
    audiences,
    "configure",
    "muster audiences configure vip --mode append --max-shrink 20",
    "muster audiences configure vip --column age:long --column city",
    "muster audiences configure vip --drop-column city",
    "muster audiences configure _profiles --column age:double",
    effect="changes",
    show=_show_view,
)
@with_import_settings
def configure(
    *,
    name: options.AudienceArgument,
    tenant: options.Tenant = "default",
    changes: dict[str, Any],
    keep_versions: KeepVersions = None,
    keep_days: KeepDays = None,
    notify_email: options.Emails = None,
    notify_webhook: options.Webhooks = None,
    notify_nobody: options.Nobody = False,
) -> AudienceView | ActivityView:
    """Change the settings of an audience.

    Sets how its files are imported, which versions are kept, and who is notified. Omitted options stay unchanged;
    --column and --notify-* replace all of their kind. Running jobs keep their settings. _events and _profiles hold the
    settings of the tenant; there, each --column is added.
    """
    notifying.check_recipients(settings(), notify_email or (), notify_webhook or ())
    context = catalog_context() if operations.COLUMN_KEYS.isdisjoint(changes) else lake_context()
    if (kind := kind_of_target(name)) != "audience":
        if _retention(keep_versions, keep_days) or notify_email or notify_webhook or notify_nobody:
            raise typer.BadParameter(f"{name} has only import settings: it has no versions or recipients of its own")
        spec = operations.configure_activity(
            tenant, kind, changes, audiences=context.audiences, specs=wiring.specs(context)
        )
        return ActivityView(tenant=tenant, name=name, spec=spec)
    changed = operations.configure(
        tenant,
        name,
        changes,
        _retention(keep_versions, keep_days),
        audiences=context.audiences,
        specs=wiring.specs(context),
        versions=lambda: context.versions,
    )
    notifying.set_recipients(
        changed.tenant,
        changed.audience_id,
        emails=notify_email or ([] if notify_nobody else None),
        webhooks=notify_webhook or ([] if notify_nobody else None),
        audiences=context.audiences,
        recipients=context.recipients,
        settings=context.settings,
    )
    for hint in notifying.hints(context.settings, context.recipients.get(changed.tenant, changed.audience_id)):
        print_note(hint)
    return _view_of(context, changed)


def _retention(versions: int | None, days: int | None) -> dict[str, int]:
    return {name: value for name, value in (("versions", versions), ("days", days)) if value is not None}


Found = Sequence[tuple["Audience", "VersionInfo | None"]]
"""Audiences with their current versions."""


def _show_list(found: Found) -> None:
    now = now_ms()
    print_table(
        ("AUDIENCE", "VERSION", "MEMBERS", "PUBLISHED"),
        [(f"{audience.tenant}/{audience.name}", *_version_cells(current, now)) for audience, current in found],
        right=("VERSION", "MEMBERS", "PUBLISHED"),
    )


def _version_cells(info: "VersionInfo | None", now: int) -> tuple[str, str, str]:
    if info is None:
        return "-", "-", "-"
    return f"v{info.version}", number(info.members), age(int(info.published_at.timestamp() * 1000), now) + " ago"


@command(
    audiences,
    "list",
    "muster audiences list",
    "muster audiences list --tenant acme --json",
    effect="reads",
    show=_show_list,
    record=lambda found: [operations.audience_with_current(audience, current) for audience, current in found],
)
def list_(
    *,
    tenant: options.OnlyTenant = None,
) -> Found:
    """List audiences with their current version."""
    context = lake_context()
    found = context.audiences.all(None if tenant is None else tenant_name(tenant))
    return [(audience, context.versions.current(ref_of(audience))) for audience in found]


@command(audiences, "show", "muster audiences show vip", effect="reads", show=_show_view)
def show(*, name: options.AudienceArgument, tenant: options.Tenant = "default") -> AudienceView | ActivityView:
    """Show an audience: its version and settings."""
    if (kind := kind_of_target(name)) != "audience":
        spec = operations.activity_settings(catalog_context().audiences, tenant, kind)
        return ActivityView(tenant=tenant, name=name, spec=spec)
    context = lake_context()
    audience = operations.find(context.audiences, tenant, name)
    view = _view_of(context, replace(audience, spec=wiring.specs(context).stored(audience)))
    ref = ref_of(audience)
    return replace(view, current=context.versions.current(ref), address=context.versions.address(ref))


@command(
    audiences, "rename", "muster audiences rename vip very-important", effect="changes", show=show_done, record=None
)
def rename(
    *,
    name: options.AudienceArgument,
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="The new name.")],
    tenant: options.Tenant = "default",
) -> Done:
    """Rename an audience.

    Versions and history stay.
    """
    context = lake_context()
    renamed = operations.rename(
        operations.find(context.audiences, tenant, name),
        new_name,
        audiences=context.audiences,
        segments=context.segments,
        versions=context.versions,
    )
    return Done(text=f"audience {tenant}/{name} is now {tenant}/{renamed.name}")


@command(audiences, "delete", "muster audiences delete vip --yes", effect="changes", show=show_done, record=None)
def delete(
    *,
    name: options.AudienceArgument,
    tenant: options.Tenant = "default",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation prompt.")] = False,
) -> Done:
    """Delete an audience with all its versions.

    This cannot be undone. Jobs and receipts stay.
    """
    context = lake_context()
    audience = operations.find(context.audiences, tenant, name)
    if not yes:
        typer.confirm(f"Delete audience {tenant}/{name} with all its versions?", abort=True, err=True)
    operations.delete(
        audience, audiences=context.audiences, jobs=context.jobs, segments=context.segments, versions=context.versions
    )
    return Done(text=f"audience {tenant}/{name} is deleted")
