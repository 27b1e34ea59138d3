"""`muster connect`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestration.cli.commands import Group, Json, command
from orchestration.cli.console import print_line, print_note
from orchestration.cli.session import settings
from orchestration.platform.deferred import deferred
from schemas.ids import DEFAULT_TENANT, tenant_name
from schemas.records import as_record

if TYPE_CHECKING:
    from orchestration.operations.connecting import Addresses
    from orchestration.platform.settings import Settings

with deferred(__name__):
    from orchestration.local import home, s3_keys
    from orchestration.operations import connecting

TOP = Group("")
KEYS_FILE: Final = "muster.keys"
_HINT: Final = (
    f"`muster connect --write {KEYS_FILE}` writes the keys; --shell, --duckdb, --boto3, --aws, --kafka, --trino, "
    "--athena show snippets."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Addresses of a deployment, or a `snippet` in the requested form."""

    addresses: "Addresses | None" = None
    snippet: str = ""
    hint: str = ""

    def as_record(self) -> Any:
        """Plain JSON data of the addresses; None for a snippet."""
        return None if self.addresses is None else as_record(self.addresses)


def _show(found: Connection) -> None:
    sys.stdout.write(found.snippet)  # not folded, since people paste it
    if found.addresses is not None:
        _show_addresses(found.addresses)
    if found.hint:
        print_note(found.hint)


def _show_addresses(found: "Addresses") -> None:
    logon = f", {found.kafka_protocol} with {found.kafka_mechanism}" if found.kafka_mechanism else ""
    print_line(f"service  {found.service}")
    print_line(f"Kafka    {found.kafka}{logon}, topics {', '.join(found.topics)}")
    if found.kafka_credentials:
        print_line(f"         user and password of producers: {found.kafka_credentials}")
    print_line(f"S3       {found.s3 or 'AWS'}, region {found.s3_region}")
    print_line(f"inbox    {found.inbox}")
    print_line(f"lake     {found.lake}")
    print_line(f"catalog  {found.catalog}")
    for part, url in found.metrics.items():
        print_line(f"metrics  {url} ({part})")


@command(
    TOP,
    "connect",
    "muster connect",
    "muster connect --write muster.keys",
    "muster connect --write acme.keys --tenant acme --lake",
    "muster connect --duckdb",
    show=_show,
)
def connect(
    *,
    shell: Annotated[bool, typer.Option("--shell", help="Print a snippet for a shell.")] = False,
    duckdb: Annotated[bool, typer.Option("--duckdb", help="Print a secret for DuckDB.")] = False,
    boto3: Annotated[bool, typer.Option("--boto3", help="Print a client in Python.")] = False,
    aws: Annotated[bool, typer.Option("--aws", help="Print a command of the AWS CLI.")] = False,
    kafka: Annotated[bool, typer.Option("--kafka", help="Print a producer of events in Python.")] = False,
    trino: Annotated[bool, typer.Option("--trino", help="Print a catalog of Trino.")] = False,
    athena: Annotated[
        bool, typer.Option("--athena", help="Print a script that registers an audience in Glue, for Athena.")
    ] = False,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Write the keys to a file that only you may read.")
    ] = None,
    tenant: Annotated[
        str, typer.Option("--tenant", "-t", metavar="TENANT", help="Tenant of the keys and snippets.")
    ] = DEFAULT_TENANT,
    lake: Annotated[
        bool, typer.Option("--lake", help="With --write: also a key that reads the tenant's audiences in the lake.")
    ] = False,
    json: Json = False,
) -> Connection:
    """Show addresses of the deployment and connection snippets.

    Prints the addresses of the service, Kafka, S3, inbox and metrics, or a snippet. Keys are never printed: snippets
    name variables, which the file written by --write sets. Its S3 key writes the tenant's folder of the inbox, and
    reads its downloads.
    """
    given = {"shell": shell, "duckdb": duckdb, "boto3": boto3, "aws": aws, "kafka": kafka}
    given |= {"trino": trino, "athena": athena}
    chosen = [name for name, wanted in given.items() if wanted]
    if len(chosen) + json > 1:
        raise typer.BadParameter(
            "choose one of --json, --shell, --duckdb, --boto3, --aws, --kafka, --trino or --athena"
        )
    loaded = settings()
    if write is not None:
        _write_keys(loaded, write, tenant, lake=lake)
    if chosen:
        return Connection(
            snippet=connecting.snippet(
                loaded, chosen[0], connecting.Names(keys_file=str(write or KEYS_FILE), tenant=tenant)
            )
        )
    found = connecting.addresses(loaded)
    return Connection(addresses=found, hint=_HINT if write is None and found.s3 else "")


def _write_keys(loaded: "Settings", file: Path, tenant: str, *, lake: bool) -> None:
    connecting.require_own_keys(loaded)
    directory, name = home.Home(path=loaded.home).s3, tenant_name(tenant)
    client = s3_keys.key_of(directory, loaded, name)
    reader = s3_keys.key_of(directory, loaded, name, lake=True) if lake else None
    connecting.write_keys(loaded, file, client=client, lake=reader)
    print_note(f"The keys of tenant {name} are in {file}.")
