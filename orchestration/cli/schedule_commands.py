"""`muster schedules`: recurring imports and exports."""

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, print_table, say
from orchestration.cli.options import command, group
from orchestration.cli.schedule_creation import Name, create
from orchestration.cli.schedule_rendering import MADE, last_run, moment, next_due, print_made, print_schedule, repeated
from orchestration.cli.session import SESSION, catalog_context, stack_context

schedules = group(
    "schedules",
    "Recurring imports and exports: create, pause, resume, run, delete.",
    "muster schedules list",
    "muster schedules show nightly",
)


def add_to(app: typer.Typer) -> None:
    """Register the group."""
    schedules.add_typer(create)
    app.add_typer(schedules)


@command(schedules, "list", "muster schedules list", "muster schedules list --tenant acme --json")
def list_(
    *,
    tenant: options.OfTenant = None,
    json: options.Json = False,
) -> None:
    """List schedules, with their next and last run."""
    del json
    from orchestration.operations.schedules import schedule_record
    from schemas.ids import tenant_name

    context = catalog_context()
    found = context.schedules.all(None if tenant is None else tenant_name(tenant))
    records = [schedule_record(context.jobs, context.exports, schedule) for schedule in found]
    if SESSION.json:
        print_json(records)
        return
    if not records:
        say("There are no schedules.")
        return
    print_table(
        ("TENANT", "NAME", "KIND", "WHEN", "ZONE", "NEXT DUE", "LAST DUE", "LAST RUN"),
        [
            (
                *(s.tenant, s.name, repeated(s), s.expression, s.timezone),
                *(next_due(s), moment(s.last_due_ms), last_run(record)),
            )
            for s, record in zip(found, records, strict=True)
        ],
    )


@command(schedules, "show", "muster schedules show nightly", "muster schedules show nightly --json")
def show(*, name: Name, tenant: options.Tenant = "default", json: options.Json = False) -> None:
    """Show a schedule: its request, when it is due, what became of its last run."""
    del json
    from orchestration.operations.schedules import find, schedule_record

    context = catalog_context()
    found = find(context, tenant, name)
    print_schedule(found, schedule_record(context.jobs, context.exports, found))


@command(schedules, "pause", "muster schedules pause nightly")
def pause(*, name: Name, tenant: options.Tenant = "default", json: options.Json = False) -> None:
    """Run a schedule no more until it is resumed.

    A run that has been started goes on.
    """
    del json
    from orchestration.operations.schedules import pause as pause_it

    context = catalog_context()
    print_made(context, pause_it(context, tenant, name))


@command(schedules, "resume", "muster schedules resume nightly")
def resume(*, name: Name, tenant: options.Tenant = "default", json: options.Json = False) -> None:
    """Let a paused schedule go on with its next time.

    What it has missed is not made up for.
    """
    del json
    from orchestration.operations.schedules import resume as resume_it
    from orchestration.platform.clock import now_ms

    context = catalog_context()
    print_made(context, resume_it(context, tenant, name, now_ms()))


@command(schedules, "run", "muster schedules run nightly")
def run(*, name: Name, tenant: options.Tenant = "default", json: options.Json = False) -> None:
    """Start a run now, beside those that are due; also of a paused schedule.

    Placeholders are filled as if it were due now.
    """
    del json
    from orchestration.operations.schedules import find, run_now
    from orchestration.platform.clock import now_ms

    context = stack_context()
    kind = find(context, tenant, name).kind
    run_id = run_now(context, tenant, name, now_ms())
    SESSION.job = run_id
    if SESSION.json:
        print_json({MADE[kind]: run_id, "state": "SUBMITTED"})
    else:
        print_line(run_id)
        say(f"Submitted. `muster schedules show {name}` tells what becomes of it.")


@command(schedules, "delete", "muster schedules delete nightly")
def delete(*, name: Name, tenant: options.Tenant = "default", json: options.Json = False) -> None:
    """Forget a schedule.

    What its runs have made stays, and a run that has been started goes on.
    """
    del json
    from orchestration.operations.schedules import find

    context = catalog_context()
    found = find(context, tenant, name)
    context.schedules.delete(found.schedule_id)
    if SESSION.json:
        print_json({"deleted": name, "tenant": tenant})
    else:
        print_line(f"schedule {name} is deleted")
