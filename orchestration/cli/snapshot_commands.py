"""`muster segments snapshot` and `muster schedules create snapshot`."""

from typing import Annotated

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, say
from orchestration.cli.options import command
from orchestration.cli.schedule_creation import Name as ScheduleName
from orchestration.cli.schedule_creation import When, Zone, create
from orchestration.cli.schedule_rendering import print_made
from orchestration.cli.segment_commands import Name, segments
from orchestration.cli.session import SESSION, catalog_context, stack_context

Audience = Annotated[
    str | None, typer.Option("--audience", "-a", metavar="NAME", help="Where they go [SEGMENT-snapshot].")
]
AllowShrink = Annotated[
    bool, typer.Option("--allow-shrink", help="However many of the audience's members are in the segment no more.")
]


def add_to(app: typer.Typer) -> None:
    """Register the commands, in groups that the app has."""
    del app
    command(
        segments,
        "snapshot",
        "muster segments snapshot buyers --wait",
        "muster segments snapshot buyers -a november --at 2026-12-01T00:00:00+09:00",
    )(snapshot)
    command(
        create,
        "snapshot",
        'muster schedules create snapshot nightly "cron(0 0 * * ? *)" buyers --zone Asia/Tokyo',
        within="schedules",
    )(create_snapshot)


def snapshot(
    *,
    name: Name,
    audience: Audience = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="ISO 8601 with an offset, within an hour [now].")
    ] = None,
    allow_shrink: AllowShrink = False,
    tenant: options.Tenant = "default",
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Follow the job; the exit code tells its end.")] = False,
    timeout: options.Timeout = None,
    json: options.Json = False,
) -> None:
    """Make the members of a segment at one instant a version of an audience.

    An audience that does not exist is created. Exports and rules take it as any
    other.
    """
    del json
    from orchestration.cli.following import wait_for
    from orchestration.operations.snapshots import snapshot as snapshot_it

    context = stack_context()
    moment = None if at is None else options.instant(at, "--at")
    job = SESSION.job = snapshot_it(context, tenant, name, audience=audience, at=moment, allow_shrink=allow_shrink)
    if wait:
        raise typer.Exit(wait_for(context, job, timeout_s=timeout))
    if SESSION.json:
        print_json({"job": job, "state": "SUBMITTED"})
    else:
        print_line(job)
        say(f"Submitted. `muster jobs wait {job}` follows the job.")


def create_snapshot(
    *,
    name: ScheduleName,
    when: When,
    segment: Annotated[str, typer.Argument(metavar="SEGMENT", help="Name of the segment.")],
    audience: Audience = None,
    zone: Zone = "UTC",
    allow_shrink: AllowShrink = False,
    tenant: options.Tenant = "default",
    json: options.Json = False,
) -> None:
    """Make the members of a segment a version of an audience again and again.

    WHEN is an expression of EventBridge Scheduler.
    """
    del json
    from orchestration.kinds.snapshot.request import SnapshotRequest
    from orchestration.operations.schedules import schedule_snapshot
    from orchestration.operations.snapshots import audience_of
    from orchestration.platform.clock import now_ms
    from schemas.ids import JobId

    context = catalog_context()
    request = SnapshotRequest(
        job_id=JobId(""),
        tenant=tenant,
        segment=segment,
        audience=audience_of(segment) if audience is None else audience,
        allow_shrink=allow_shrink,
    )
    made = schedule_snapshot(context, name, request, expression=when, timezone=zone, now_ms=now_ms())
    print_made(context, made)
