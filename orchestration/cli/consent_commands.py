"""`muster consent`: whose members exports leave out."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestration.cli import options
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line, print_note, print_table
from orchestration.cli.remote import resolve_tenant, service

if TYPE_CHECKING:
    from muster.api_types import Consent, ConsentList

TOP = Group("")
consent = Group("consent", "muster consent show", "muster consent set unsubscribed --max-age 2d")
TOP.add_typer(consent)
ListArgument = Annotated[str, typer.Argument(metavar="AUDIENCE", help="Name of the audience that is the list.")]
Destination = Annotated[
    str | None,
    typer.Option(
        "--destination",
        metavar="PLACE",
        help="Only exports to s3://bucket/prefix/, kafka://TOPIC, profile:NAME or download; omit for all.",
    ),
]
UNITS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def _show(found: "Consent") -> None:
    if not found["items"]:
        print_note("No list is left out of exports.")
        return
    print_line(f"policy {found['policy']}")
    print_table(
        ("LIST", "DESTINATION", "MAX AGE", ""),
        [
            (one["audience"], one["destination"] or "all", _age(one["max_age_s"]), "exempt" if one["exempt"] else "")
            for one in found["items"]
        ],
    )


@command(consent, "show", "muster consent show -t acme", show=_show)
def show_consent(*, tenant: options.MeantTenant = None) -> "Consent":
    """Show the lists whose members are left out of exports."""
    with service() as found:
        return found.consent(resolve_tenant(found, tenant))


@command(
    consent,
    "set",
    "muster consent set -t acme unsubscribed",
    "muster consent set unsubscribed --destination s3://crm/acme/ --max-age 2d",
    "muster consent set unsubscribed --destination profile:processor --exempt",
    show=_show,
)
def set_consent(
    *,
    name: ListArgument,
    destination: Destination = None,
    max_age: Annotated[
        str | None,
        typer.Option("--max-age", metavar="2d", help="Refuse exports if the list is older (m, h, d, w)."),
    ] = None,
    exempt: Annotated[bool, typer.Option("--exempt", help="The list does not apply to this destination.")] = False,
    tenant: options.MeantTenant = None,
) -> "Answer[Consent]":
    """Leave out the members of an audience from all exports, or those to one destination.

    Replaces what is set for the list and this destination. The entry with the closest destination decides. No export
    can leave a list out; one without a version, or older than --max-age, makes exports fail.
    """
    wanted: ConsentList = {
        "audience": name,
        "destination": destination,
        "max_age_s": None if max_age is None else _seconds(max_age),
        "exempt": exempt,
    }
    return Answer(value=_changed(tenant, name, destination, wanted))


@command(
    consent,
    "remove",
    "muster consent remove unsubscribed",
    "muster consent remove unsubscribed --destination s3://crm/acme/",
    show=_show,
)
def remove_consent(
    *, name: ListArgument, destination: Destination = None, tenant: options.MeantTenant = None
) -> "Answer[Consent]":
    """Remove what is set for a list and a destination; without one, what is set for all destinations."""
    return Answer(value=_changed(tenant, name, destination, None))


def _changed(tenant: str | None, name: str, destination: str | None, wanted: "ConsentList | None") -> "Consent":
    with service() as found:
        meant = resolve_tenant(found, tenant)
        now, etag = found.consent_with_etag(meant)
        places = {destination, None if destination is None else f"{destination.rstrip('/')}/"}
        items: list[Any] = [one for one in now["items"] if one["audience"] != name or one["destination"] not in places]
        if wanted is not None:
            items.append(wanted)
        elif len(items) == len(now["items"]):
            raise typer.BadParameter(
                f"nothing is set for {name} and {destination or 'all destinations'}; `muster consent show` shows all",
                param_hint="AUDIENCE",
            )
        changed, _ = found.replace_consent(meant, items, etag=etag)
        return changed


def _seconds(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdecimal() and unit in UNITS and int(number)):
        raise typer.BadParameter(f"{text[:40]!r} is not a time like 12h or 2d", param_hint="--max-age")
    return int(number) * UNITS[unit]


def _age(seconds: int | None) -> str:
    if seconds is None:
        return ""
    unit, size = next((u, s) for u, s in reversed(UNITS.items()) if seconds % s == 0 or s == 60)
    return f"{seconds // size}{unit}"
