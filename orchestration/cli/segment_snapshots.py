"""`muster segments snapshot`."""

from typing import Annotated

import typer

from orchestration.cli import options
from orchestration.cli.commands import Answer, command
from orchestration.cli.following import Followed, Submitted, show_started, submitted
from orchestration.cli.segment_commands import Name, segments
from orchestration.cli.session import stack_context
from orchestration.platform.deferred import deferred

with deferred(__name__):
    from orchestration.operations import snapshots


@command(
    segments,
    "snapshot",
    "muster segments snapshot buyers --wait",
    "muster segments snapshot buyers -a november --at 2026-12-01T00:00:00+09:00",
    effect="changes",
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
    tenant: options.Tenant = "default",
    wait: options.Wait = False,
    timeout: options.Timeout = None,
) -> Answer[Submitted | Followed]:
    """Publish a segment at one instant as a version of an audience.

    The version has the members of that instant. A missing audience is created. Exports and rules use it like any other.
    """
    context = stack_context()
    moment = None if at is None else options.instant(at, "--at")
    job = snapshots.snapshot(
        tenant,
        name,
        audience=audience,
        at=moment,
        allow_shrink=allow_shrink,
        audiences=context.audiences,
        engine=context.engine,
        segments=context.segments,
    )
    return submitted(job, wait=wait, timeout_s=timeout)
