"""`muster segments snapshot`."""

from typing import Annotated

import typer

from orchestration.cli import options, remote
from orchestration.cli.commands import Answer, command
from orchestration.cli.following import Followed, Submitted, show_started, submitted
from orchestration.cli.segment_commands import Name, segments
from schemas.ids import JobId


@command(
    segments,
    "snapshot",
    "muster segments snapshot buyers --wait",
    "muster segments snapshot buyers -a november --at 2026-12-01T00:00:00+09:00",
    show=show_started,
)
def snapshot(
    *,
    name: Name,
    audience: options.SnapshotAudience = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="ISO 8601 with an offset, within the next hour [now].")
    ] = None,
    allow_shrink: options.AllowSnapshotShrink = False,
    tenant: options.MeantTenant = None,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
) -> Answer[Submitted | Followed]:
    """Publish a segment at one instant as a version of an audience.

    The version has the members of that instant. A missing audience is created. Exports and rules use it like any other.
    """
    instant = None if at is None else options.instant(at, "--at").isoformat()
    with remote.service() as found:
        started = found.snapshot_segment(
            remote.resolve_tenant(found, tenant), name, audience=audience, at=instant, allow_shrink=allow_shrink
        )
    return submitted(JobId(started["job"]), wait=wait, timeout_s=timeout)
