"""`muster audiences`."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Done, Group, command, show_done
from orchestration.cli.console import print_pairs, print_table
from orchestration.cli.formatting import age, counted, number, time_ms
from orchestration.platform.deferred import deferred
from schemas.import_targets import kind_of_target
from schemas.text_form import delimiter_name

if TYPE_CHECKING:
    from muster.client import Client

with deferred(__name__):
    from muster import errors, following

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
TRIES: Final = 5
"""A command names everything it changes, so it is not refused when others have changed the audience meanwhile."""
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceView:
    """An audience as the service answers it; with its table if requested."""

    audience: Record

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        found = self.audience
        table = {} if found.get("table") is None else {"table": found["table"]}
        kept = ("tenant", "audience", "audience_id", "spec", "folders", "retention", "created_at")
        return {
            **{name: found[name] for name in kept},
            "current": found.get("current"),
            **table,
            "told": found["notified"],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityView:
    """How files of events or profiles of a tenant are read; unknown columns are kept as they are in the file.

    `name` is the reserved one.
    """

    activity: Record
    name: str

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"tenant": self.activity["tenant"], "audience": self.name, "spec": self.activity["spec"]}


def show_view(view: AudienceView | ActivityView) -> None:
    """Print the facts of an audience, or how events or profiles are read."""
    pairs = _activity_pairs(view.activity) if isinstance(view, ActivityView) else _audience_pairs(view.audience)
    print_pairs(pairs)


def _audience_pairs(audience: Record) -> list[tuple[str, object]]:
    spec, retention, notified = audience["spec"], audience["retention"], audience["notified"]
    shrink = "any" if spec["max_shrink_percent"] is None else f"at most {spec['max_shrink_percent']:g} %"
    pairs: list[tuple[str, object]] = [("audience", f"{audience['tenant']}/{audience['audience']}")]
    if (current := audience.get("current")) is not None:
        pairs.append(("current", f"version {current['version']}, {counted(current['members'], 'member')}"))
    if (table := audience.get("table")) is not None:
        pairs.append(("table", f"{table['name']} at {table['location']}"))
    shown = "not for your role" if notified is None else ", ".join(one["address"] for one in notified) or "nobody"
    return [
        *pairs,
        ("mode", spec["mode"]),
        ("id column", spec["id_column"]),
        ("columns", _columns(spec["columns"])),
        *([("may drop", ", ".join(spec["drop_columns"]))] if "drop_columns" in spec else []),
        *([("may retype", ", ".join(spec["retype_columns"]))] if "retype_columns" in spec else []),
        *_reading_pairs(spec),
        *([("folders", "each with _SUCCESS is an import")] if audience.get("folders") == "sets" else []),
        ("shrinking", shrink),
        ("kept", f"{retention['versions']} versions, and all younger than {retention['days']} days"),
        ("notified", shown),
    ]


def _activity_pairs(activity: Record) -> list[tuple[str, object]]:
    spec = activity["spec"]
    return [
        (activity["kind"], f"of {activity['tenant']}"),
        ("id column", spec["id_column"]),
        ("columns", _columns(spec["columns"])),
        ("known types", _columns(spec.get("known_columns", ()))),
        *_reading_pairs(spec),
    ]


def _reading_pairs(spec: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [
        *([("may lack", ", ".join(spec["allow_missing_columns"]))] if "allow_missing_columns" in spec else []),
        ("format", spec["format"] or "from the file name"),
        *([("delimiter", delimiter_name(spec["delimiter"]))] if "delimiter" in spec else []),
        *([("encoding", spec["encoding"])] if "encoding" in spec else []),
        ("time zone", spec["timezone"] or "none: times need an offset"),
        ("rejects", f"at most {spec['max_reject_share'] * 100:g} % of the rows"),
        ("empty file", "accepted" if spec["allow_empty"] else "refused"),
    ]


def _columns(columns: Sequence[Mapping[str, Any]]) -> str:
    def shown(c: Mapping[str, Any]) -> str:
        rounded, source = ":rounded" if c.get("rounded") else "", f"={c['source']}" if c["source"] else ""
        return f"{c['name']}:{c['type']}{rounded}{source}"

    return ", ".join(map(shown, columns)) or "none"


def with_etag(found: "Client", tenant: str, name: str, change: Callable[[str], ValueT]) -> ValueT:
    """The result of a change that needs the ETag of the audience; tried again while others change the audience."""
    for last in range(1, TRIES + 1):
        _, etag = found.audience_with_etag(tenant, name)
        try:
            return change(etag)
        except errors.ApiError as exc:
            if exc.code != "STALE_ETAG" or last == TRIES:
                raise
    raise AssertionError(TRIES)


def _show_list(found: Sequence[Record]) -> None:
    now = int(time.time() * 1000)
    print_table(
        ("AUDIENCE", "VERSION", "MEMBERS", "PUBLISHED"),
        [(f"{one['tenant']}/{one['audience']}", *_version_cells(one["current"], now)) for one in found],
        right=("VERSION", "MEMBERS", "PUBLISHED"),
    )


def _version_cells(current: Mapping[str, Any] | None, now: int) -> tuple[str, str, str]:
    if current is None:
        return "-", "-", "-"
    return f"v{current['version']}", number(current["members"]), age(time_ms(current["published_at"]), now) + " ago"


@command(
    audiences,
    "list",
    "muster audiences list",
    "muster audiences list --tenant acme --json",
    show=_show_list,
)
def list_(
    *,
    tenant: options.OnlyTenant = None,
) -> Sequence[Record]:
    """List audiences with their current version."""
    with remote.service() as found:
        return [one for name in remote.meant_tenants(found, tenant) for one in found.audiences(name, current=True)]


@command(audiences, "show", "muster audiences show vip", show=show_view)
def show(*, name: options.AudienceArgument, tenant: options.MeantTenant = None) -> AudienceView | ActivityView:
    """Show an audience: its version and settings."""
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        if (kind := kind_of_target(name)) != "audience":
            return ActivityView(activity=found.activity(meant, kind), name=name)
        return AudienceView(audience=found.audience(meant, name, current=True))


@command(audiences, "rename", "muster audiences rename vip very-important", show=show_done, record=None)
def rename(
    *,
    name: options.AudienceArgument,
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="The new name.")],
    tenant: options.MeantTenant = None,
) -> Done:
    """Rename an audience.

    Versions and history stay.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        begun = with_etag(found, meant, name, lambda etag: found.rename_audience(meant, name, new_name, etag=etag))
        renamed = following.result(found, meant, begun)
    return Done(text=f"audience {meant}/{name} is now {meant}/{renamed['audience']}")


@command(audiences, "delete", "muster audiences delete vip --yes", show=show_done, record=None)
def delete(
    *,
    name: options.AudienceArgument,
    tenant: options.MeantTenant = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation prompt.")] = False,
) -> Done:
    """Delete an audience with all its versions.

    This cannot be undone. Jobs and receipts stay.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        _, etag = found.audience_with_etag(meant, name)
        if not yes:
            typer.confirm(f"Delete audience {meant}/{name} with all its versions?", abort=True, err=True)
        following.result(found, meant, found.delete_audience(meant, name, etag=etag))
    return Done(text=f"audience {meant}/{name} is deleted")
