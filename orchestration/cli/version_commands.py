"""`muster audiences versions`, `diff`, `rollback`, `compact`, `expire`, `pin` and `unpin`."""

from typing import Annotated, Any

import typer

from orchestration.cli import options
from orchestration.cli.audience_commands import KeepDays, KeepVersions, audiences
from orchestration.cli.console import print_json, print_line, print_table
from orchestration.cli.formatting import number, safe, size
from orchestration.cli.options import command
from orchestration.cli.session import SESSION, catalog_context, lake_context


def add_to(app: typer.Typer) -> None:
    """The commands are in the group `audiences`, which is registered with the others of it."""
    del app


@command(audiences, "versions", "muster audiences versions vip", "muster audiences versions vip --json")
def versions(*, name: options.AudienceArgument, tenant: options.Tenant = "default", json: options.Json = False) -> None:
    """List the kept versions, the newest first."""
    del json
    from orchestration.catalog.references import ref_of
    from orchestration.operations.audiences import find, version_record

    context = lake_context()
    audience = find(context, tenant, name)
    kept = list(reversed(context.versions.versions(ref_of(audience))))
    pins = context.audiences.pins(audience.audience_id)
    if SESSION.json:
        print_json([{**version_record(info), "pinned": info.version in pins} for info in kept])
        return
    print_table(
        ("VERSION", "PUBLISHED (UTC)", "MODE", "MEMBERS", "ADDED", "REMOVED", "PINNED", "MADE BY"),
        [
            (
                v.version,
                v.published_at.strftime("%Y-%m-%d %H:%M"),
                v.mode if v.source_version is None or v.mode == "compact" else f"{v.mode} to {v.source_version}",
                number(v.members),
                number(None if v.counts is None else v.counts.added),
                number(None if v.counts is None else v.counts.removed),
                "yes" if v.version in pins else "",
                v.import_id,
            )
            for v in kept
        ],
        right=("VERSION", "MEMBERS", "ADDED", "REMOVED"),
    )


@command(audiences, "diff", "muster audiences diff vip 3 5", "muster audiences diff vip 3 5 --sample 20 --json")
def diff(
    *,
    name: options.AudienceArgument,
    earlier: Annotated[int, typer.Argument(metavar="N", min=1, help="The earlier version.")],
    later: Annotated[int, typer.Argument(metavar="M", min=1, help="The later version.")],
    sample: Annotated[int, typer.Option("--sample", metavar="K", min=0, help="Show the first K ids of each.")] = 0,
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Compare two versions: members that were added, removed, changed, kept."""
    del json
    from connectors.sinks.comparing import compare
    from orchestration.operations.audiences import find
    from orchestration.operations.exports import pinned

    context = lake_context()
    audience = find(context, tenant, name)
    sides = [pinned(context, audience, version=number_) for number_ in (earlier, later)]
    found = compare(*sides, s3=context.s3, limits=context.duck_limits, sample=sample)
    of, changed = found.counts, found.counts.updated or 0
    counts = {"added": of.added, "removed": of.removed, "changed": changed, "kept": of.kept - changed}
    if SESSION.json:
        samples = {"sample": {kind: list(ids) for kind, ids in found.sample.items()}} if sample else {}
        print_json({"audience": name, "tenant": tenant, "earlier": earlier, "later": later, **counts, **samples})
        return
    print_table(("", "MEMBERS"), [(kind, number(count)) for kind, count in counts.items()], right=("MEMBERS",))
    for kind, ids in found.sample.items():
        print_line(f"{kind}: " + ", ".join(safe(id_) for id_ in ids))


@command(audiences, "rollback", 'muster audiences rollback vip --to 3 --reason "wrong file"')
def rollback(
    *,
    name: options.AudienceArgument,
    to: Annotated[int, typer.Option("--to", metavar="N", min=1, help="Version whose members come back.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept with the new version.")] = "",
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Publish an older version again, as a new one.

    Files that were uploaded before the rollback come too late from then on.
    """
    del json
    from orchestration.operations import audiences as operations

    context = lake_context()
    done = operations.rollback(context, operations.find(context, tenant, name), to, reason)
    _print_operation(
        {"version": done.version, "snapshot_id": done.snapshot_id, "members": done.members},
        f"version {done.version} has the {number(done.members)} members of version {to}",
    )


@command(audiences, "compact", "muster audiences compact vip --target-mb 256")
def compact(
    *,
    name: options.AudienceArgument,
    target_mb: Annotated[int, typer.Option("--target-mb", min=1, help="Size of the new files in MB.")] = 128,
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Publish the current members in fewer files."""
    del json
    from orchestration.operations import audiences as operations

    context = lake_context()
    done = operations.compact(context, operations.find(context, tenant, name), target_mb * 1_000_000)
    _print_operation(
        {"version": done.version, "members": done.members},
        f"version {done.version} has the same {number(done.members)} members",
    )


@command(
    audiences, "expire", "muster audiences expire vip", "muster audiences expire vip --keep-versions 3 --keep-days 0"
)
def expire(
    *,
    name: options.AudienceArgument,
    keep_versions: KeepVersions = None,
    keep_days: KeepDays = None,
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Forget old versions and delete their files.

    By the retention of the audience, or by what is said here. Files younger than seven days stay.
    """
    del json
    from orchestration.operations import audiences as operations

    context = lake_context()
    gone = operations.expire(
        context.audiences,
        context.jobs,
        context.versions,
        operations.find(context, tenant, name),
        versions=keep_versions,
        days=keep_days,
    )
    numbers = ", ".join(map(str, gone.versions)) or "none"
    _print_operation(
        {"versions": gone.versions, "files": gone.files, "bytes": gone.bytes},
        f"expired versions: {numbers}; {number(gone.files)} files deleted, {size(gone.bytes)}",
    )


VersionArgument = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Number of the version.")]


@command(audiences, "pin", "muster audiences pin vip 3")
def pin(
    *,
    name: options.AudienceArgument,
    version: VersionArgument,
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Keep a version whatever retention says."""
    del json
    from orchestration.operations import audiences as operations

    context = lake_context()
    operations.pin(context, operations.find(context, tenant, name), version)
    _print_operation({"version": version, "pinned": True}, f"version {version} is kept until it is unpinned")


@command(audiences, "unpin", "muster audiences unpin vip 3")
def unpin(
    *,
    name: options.AudienceArgument,
    version: VersionArgument,
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Leave a version to retention again."""
    del json
    from orchestration.operations import audiences as operations

    context = catalog_context()
    was = operations.unpin(context, operations.find(context, tenant, name), version)
    text = f"version {version} is kept as long as retention says" if was else f"version {version} was not pinned"
    _print_operation({"version": version, "pinned": False}, text)


def _print_operation(record: dict[str, Any], text: str) -> None:
    if SESSION.json:
        print_json(record)
    else:
        print_line(text)
