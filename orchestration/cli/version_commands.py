"""`muster audiences versions`, `diff`, `rollback`, `compact`, `expire`, `pin` and `unpin`."""

import shlex
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.audience_commands import KeepDays, KeepVersions, audiences
from orchestration.cli.commands import Answer, Done, command, show_done
from orchestration.cli.console import print_line, print_table
from orchestration.cli.formatting import counted, number, safe, size, text_time
from orchestration.platform.deferred import deferred

with deferred(__name__):
    from muster import following

PAGE: Final = 100
"""Ids of each kind that `diff` shows if it is to show any."""


class ChangeKind(StrEnum):
    """Kinds of change between two versions that have ids."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


def _show_kept(kept: Sequence[Record]) -> None:
    print_table(
        ("VERSION", "PUBLISHED (UTC)", "MODE", "MEMBERS", "ADDED", "REMOVED", "PINNED", "MADE BY"),
        [
            (
                v["version"],
                text_time(v["published_at"])[:16],
                v["mode"]
                if v["source_version"] is None or v["mode"] == "compact"
                else f"{v['mode']} to {v['source_version']}",
                number(v["members"]),
                *(number((v["membership"] or {}).get(name)) for name in ("added", "removed")),
                "yes" if v["pinned"] else "",
                v["made_by"],
            )
            for v in kept
        ],
        right=("VERSION", "MEMBERS", "ADDED", "REMOVED"),
    )


@command(
    audiences,
    "versions",
    "muster audiences versions vip",
    "muster audiences versions vip --json",
    show=_show_kept,
)
def versions(*, name: options.AudienceArgument, tenant: options.MeantTenant = None) -> Sequence[Record]:
    """List the kept versions, newest first."""
    with remote.service() as found:
        return list(found.versions(remote.resolve_tenant(found, tenant), name))


def _show_compared(found: Record) -> None:
    kinds = ("added", "removed", "changed", "kept")
    print_table(("", "MEMBERS"), [(kind, number(found[kind])) for kind in kinds], right=("MEMBERS",))
    for kind, ids in found.get("sample", {}).items():
        print_line(f"{kind}: " + ", ".join(safe(id_) for id_ in ids))
    for change in found.get("changes", ()):
        values = ", ".join(
            f"{safe(column)} {_value(value['earlier'])} -> {_value(value['later'])}"
            for column, value in change["columns"].items()
        )
        print_line(f"  {safe(change['user'])}: {values}")


def _value(value: Any) -> str:
    return "none" if value is None else safe(str(value))


@command(
    audiences,
    "diff",
    "muster audiences diff vip 3 5",
    "muster audiences diff vip 3 5 --sample 20 --json",
    "muster audiences diff vip 3 5 --change changed --values",
    "muster audiences diff vip 3 5 --change added --sample 10000 --after ann",
    show=_show_compared,
)
def diff(
    *,
    name: options.AudienceArgument,
    earlier: Annotated[int, typer.Argument(metavar="N", min=1, help="The earlier version.")],
    later: Annotated[int, typer.Argument(metavar="M", min=1, help="The later version.")],
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            metavar="K",
            min=0,
            max=10_000,
            help=f"Show the first K ids of each kind [0; {PAGE} with --after, --change or --values].",
        ),
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="ID", help="Show those after this id: the next page.")
    ] = None,
    change: Annotated[ChangeKind | None, typer.Option("--change", help="Show only ids of this kind.")] = None,
    values: Annotated[
        bool, typer.Option("--values", help="Show what changed: columns with their earlier and later values.")
    ] = False,
    tenant: options.MeantTenant = None,
) -> Answer[Record]:
    """Compare two versions: members added, removed, changed and kept."""
    size_ = sample if sample is not None else PAGE if after is not None or change or values else 0
    kind: Literal["added", "removed", "changed"] | None = None if change is None else change.value
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        begun = found.begin_difference(
            meant, name, earlier, later, sample=size_, after=after, change=kind, values=values
        )
        compared = following.result(found, meant, begun)
    shown = {word: value for word, value in compared.items() if size_ or word not in ("sample", "changes")}
    ids = compared["sample"].get(kind, ())
    more = [f"There may be more: --after {shlex.quote(ids[-1])}"] if size_ and len(ids) == size_ else []
    return Answer(value=shown, notes=more)


@command(
    audiences,
    "rollback",
    'muster audiences rollback vip --to 3 --reason "wrong file"',
    show=show_done,
)
def rollback(
    *,
    name: options.AudienceArgument,
    to: Annotated[int, typer.Option("--to", metavar="N", min=1, help="Version to publish again.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason to keep with the new version.")] = "",
    tenant: options.MeantTenant = None,
) -> Done:
    """Publish an older version again, as a new one.

    Files uploaded before the rollback are superseded from then on.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        done = following.result(found, meant, found.roll_back(meant, name, to, reason=reason))
    return Done(
        record={word: done[word] for word in ("version", "snapshot_id", "members")},
        text=f"version {done['version']} has the {number(done['members'])} members of version {to}",
    )


@command(audiences, "compact", "muster audiences compact vip --target-mb 256", show=show_done)
def compact(
    *,
    name: options.AudienceArgument,
    target_mb: Annotated[
        int, typer.Option("--target-mb", min=1, max=100_000, help="Size of the new files in MB.")
    ] = 128,
    tenant: options.MeantTenant = None,
) -> Done:
    """Publish the current members in fewer files."""
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        done = following.result(found, meant, found.compact_audience(meant, name, target_mb=target_mb))
    return Done(
        record={word: done[word] for word in ("version", "members")},
        text=f"version {done['version']} has the same {number(done['members'])} members",
    )


@command(
    audiences,
    "expire",
    "muster audiences expire vip",
    "muster audiences expire vip --keep-versions 3 --keep-days 0",
    show=show_done,
)
def expire(
    *,
    name: options.AudienceArgument,
    keep_versions: KeepVersions = None,
    keep_days: KeepDays = None,
    tenant: options.MeantTenant = None,
) -> Done:
    """Expire old versions and delete their files.

    Uses the retention of the audience, unless overridden by the options. Files younger than seven days stay.
    """
    kept: dict[str, Any] = {
        word: value for word, value in (("versions", keep_versions), ("days", keep_days)) if value is not None
    }
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        expired = following.result(found, meant, found.expire_versions(meant, name, **kept))
    numbers = ", ".join(map(str, expired["versions"])) or "none"
    return Done(
        record=expired,
        text=f"expired versions: {numbers}; {counted(expired['files'], 'file')} deleted, {size(expired['bytes'])}",
    )


VersionArgument = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Number of the version.")]


@command(audiences, "pin", "muster audiences pin vip 3", show=show_done)
def pin(*, name: options.AudienceArgument, version: VersionArgument, tenant: options.MeantTenant = None) -> Done:
    """Keep a version regardless of retention."""
    with remote.service() as found:
        found.pin_version(remote.resolve_tenant(found, tenant), name, version)
    return Done(record={"version": version, "pinned": True}, text=f"version {version} is kept until it is unpinned")


@command(audiences, "unpin", "muster audiences unpin vip 3", show=show_done)
def unpin(*, name: options.AudienceArgument, version: VersionArgument, tenant: options.MeantTenant = None) -> Done:
    """Unpin a version, so that retention applies to it again."""
    with remote.service() as found:
        done = found.unpin_version(remote.resolve_tenant(found, tenant), name, version)
    text = f"retention applies to version {version} again" if done["changed"] else f"version {version} was not pinned"
    return Done(record={"version": version, "pinned": False}, text=text)
