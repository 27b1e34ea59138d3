"""`muster backup` and `muster restore`."""

from typing import Annotated

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, say
from orchestration.cli.formatting import number, size
from orchestration.cli.options import command
from orchestration.cli.session import SESSION, lake_context

Place = Annotated[str, typer.Argument(metavar="PLACE", help="A directory, or s3://bucket/prefix.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    command(app, "backup", "muster backup /backups/monday", "muster backup s3://backups/monday")(backup)
    command(app, "restore", "muster restore /backups/monday")(restore)


def backup(*, place: Place, json: options.Json = False) -> None:
    """Copy catalog and lake to an empty place.

    Imports may run meanwhile.
    """
    del json
    from orchestration.operations.backup import backup as make

    made = make(lake_context(), place)
    if SESSION.json:
        print_json({"files": made.files, "bytes": made.bytes, "place": place})
    else:
        print_line(f"{number(made.files)} files, {size(made.bytes)}, and the catalog are in {place}")


def restore(*, place: Place, json: options.Json = False) -> None:
    """Load a backup into an empty deployment.

    Every file is compared with the manifest first.
    """
    del json
    from orchestration.operations.backup import restore as load

    done = load(lake_context(), place)
    if SESSION.json:
        print_json({"files": done.files, "bytes": done.bytes, "failed_jobs": list(done.failed_jobs)})
        return
    print_line(f"{number(done.files)} files, {size(done.bytes)}, and the catalog were restored")
    if done.failed_jobs:
        say(f"{len(done.failed_jobs)} jobs were running at the time and have FAILED; upload their files again.")
