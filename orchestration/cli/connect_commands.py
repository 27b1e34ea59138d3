"""`muster connect`."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, say
from orchestration.cli.options import command
from orchestration.cli.session import SESSION, settings

KEYS_FILE: Final = "muster.keys"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "connect", "muster connect", "muster connect --write muster.keys", "muster connect --duckdb")(connect)


def connect(
    *,
    shell: Annotated[bool, typer.Option("--shell", help="Lines for a shell.")] = False,
    duckdb: Annotated[bool, typer.Option("--duckdb", help="A secret for DuckDB.")] = False,
    boto3: Annotated[bool, typer.Option("--boto3", help="A client for Python.")] = False,
    aws: Annotated[bool, typer.Option("--aws", help="A command of the AWS CLI.")] = False,
    kafka: Annotated[bool, typer.Option("--kafka", help="A producer of events for Python.")] = False,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Write the keys into a file that only you may read.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show where the deployment is, and how programs connect to it.

    Addresses of Kafka, S3, inbox and metrics, or a snippet. Keys are never printed: snippets name variables, which the
    file of --write sets.
    """
    del json
    from orchestration.operations.connecting import addresses, snippet, write_keys

    given = {"shell": shell, "duckdb": duckdb, "boto3": boto3, "aws": aws, "kafka": kafka}
    chosen = [name for name, wanted in given.items() if wanted]
    if len(chosen) > 1 or (chosen and SESSION.json):
        raise typer.BadParameter("choose one form: --json, --shell, --duckdb, --boto3, --aws or --kafka")
    loaded = settings()
    if write is not None:
        write_keys(loaded, write)
        say(f"The keys are in {write}.")
    keys_file = str(write or KEYS_FILE)
    if chosen:
        sys.stdout.write(snippet(loaded, chosen[0], keys_file))  # no line is folded: it is pasted elsewhere
        return
    found = addresses(loaded)
    if SESSION.json:
        print_json(found.as_record())
        return
    logon = f", {found.kafka_protocol} with {found.kafka_mechanism}" if found.kafka_mechanism else ""
    print_line(f"Kafka    {found.kafka}{logon}, topics {', '.join(found.topics)}")
    if found.kafka_credentials:
        print_line(f"         user and password of producers: {found.kafka_credentials}")
    print_line(f"S3       {found.s3 or 'AWS'}, region {found.s3_region}")
    print_line(f"inbox    {found.inbox}")
    print_line(f"lake     {found.lake}")
    print_line(f"catalog  {found.catalog}")
    for part, url in found.metrics.items():
        print_line(f"metrics  {url} ({part})")
    if write is None and found.s3:
        say(
            f"`muster connect --write {KEYS_FILE}` writes the keys; "
            "--shell, --duckdb, --boto3, --aws, --kafka show snippets."
        )
