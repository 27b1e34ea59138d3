"""`muster feeds`: who enters and leaves a segment, delivered as it happens."""

from collections.abc import Sequence
from typing import Annotated, Literal

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Done, Group, command, show_done
from orchestration.cli.console import print_line, print_note, print_pairs, print_table
from orchestration.cli.formatting import text_time

TOP = Group("")
feeds = Group("feeds", "muster feeds list", "muster feeds create crm --segment buyers --to kafka://acme.buyers")
TOP.add_typer(feeds)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the feed.")]
PHASES = {"waiting": "has to begin", "members": "delivers the members", "changes": "delivers changes"}
TO_SHAPE = {"changes": "", "state": " (members alone)"}


def _doing(feed: Record) -> str:
    return PHASES[feed["phase"]] if feed["state"] == "active" else str(feed["state"])


def _trouble(feed: Record) -> str:
    return "" if feed["trouble"] is None else str(feed["trouble"]["code"])


def _show_list(found: Sequence[Record]) -> None:
    if not found:
        print_note("There are no feeds.")
        return
    print_table(
        ("TENANT", "NAME", "SEGMENT", "TO", "STATE", "DELIVERED", "BEHIND", "TROUBLE"),
        [
            (
                *(one[member] for member in ("tenant", "name", "segment", "to")),
                _doing(one),
                f"{one['delivered']:,}",
                "" if one["behind"] is None else f"{one['behind']:,}",
                _trouble(one),
            )
            for one in found
        ],
        right=("DELIVERED", "BEHIND"),
    )


def _show_feed(feed: Record) -> None:
    segment = feed["segment"] if feed["segment_state"] == "active" else f"{feed['segment']} ({feed['segment_state']})"
    at = "" if feed["delivered_at"] is None else f", last at {text_time(feed['delivered_at'])} UTC"
    pairs: list[tuple[str, object]] = [
        ("feed", f"{feed['tenant']}/{feed['name']}"),
        ("segment", segment),
        ("to", feed["to"] + TO_SHAPE[feed["shape"]]),
        ("state", _doing(feed)),
        ("begun", f"{feed['epoch']:,} times" if feed["epoch"] > 1 else "once"),
        ("delivered", f"{feed['delivered']:,} events{at}"),
    ]
    if feed["behind"] is not None:
        pairs.append(("behind", f"{feed['behind']:,} records of the topic, as of {text_time(feed['seen_at'])} UTC"))
    if feed["trouble"] is not None:
        since = f"since {text_time(feed['trouble_since'])} UTC"
        pairs.append(("trouble", f"{feed['trouble']['code']} {since}: {feed['trouble']['message']}"))
    if feed["refused"] is not None:
        pairs.append(("refused", f"{feed['refused']:,} events; `muster feeds resume {feed['name']} --skip` omits them"))
    print_pairs(pairs)


def _show_changed(feed: Record) -> None:
    print_line(f"feed {feed['name']} of {feed['segment']} to {feed['to']}: {_doing(feed)}")


@command(feeds, "list", "muster feeds list", "muster feeds list --tenant acme --json", show=_show_list)
def list_(*, tenant: options.OnlyTenant = None) -> Sequence[Record]:
    """List feeds, and how far each is."""
    with remote.service() as found:
        return [one for name in remote.meant_tenants(found, tenant) for one in found.feeds(name)]


@command(feeds, "show", "muster feeds show crm", "muster feeds show crm --json", show=_show_feed)
def show(*, name: Name, tenant: options.MeantTenant = None) -> Record:
    """Show a feed: where it is, and why nothing is delivered."""
    with remote.service() as found:
        return found.feed(remote.resolve_tenant(found, tenant), name)


@command(
    feeds,
    "create",
    "muster feeds create crm --segment buyers --to kafka://acme.buyers",
    "muster feeds create crm --segment buyers --to https://crm.acme.example/members --from now",
    "muster feeds create now --segment buyers --to kafka://acme.buyers-now --shape state",
    show=_show_changed,
)
def create(
    *,
    name: Name,
    segment: Annotated[str, typer.Option("--segment", "-s", metavar="SEGMENT", help="Whose members to deliver.")],
    to: Annotated[
        str, typer.Option("--to", metavar="ADDRESS", help="kafka://TOPIC, on Muster's broker, or https://...")
    ],
    start: Annotated[
        Literal["all", "now"], typer.Option("--from", help="Begin with all members, or only with changes from now on.")
    ] = "all",
    shape: Annotated[
        Literal["changes", "state"],
        typer.Option("--shape", help="Every change, or the members alone, by user, on a compacted topic."),
    ] = "changes",
    tenant: options.MeantTenant = None,
) -> Record:
    """Create a feed: who enters and leaves a segment, as CloudEvents, as it happens.

    A topic must exist. docs/feeds.md shows how to follow it, and how a receiver checks signatures.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        return found.create_feed(meant, name, segment=segment, to=to, start=start, shape=shape)[0]


def _change(tenant: str | None, name: str, state: Literal["active", "paused"], *, skip: bool = False) -> Record:
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        _, etag = found.feed_with_etag(meant, name)
        return found.change_feed(meant, name, state=state, skip=skip, etag=etag)[0]


@command(feeds, "pause", "muster feeds pause crm", show=_show_changed)
def pause(*, name: Name, tenant: options.MeantTenant = None) -> Record:
    """Pause a feed until it is resumed.

    Nothing is lost: it goes on where it was, or begins again after more than a week.
    """
    return _change(tenant, name, "paused")


@command(feeds, "resume", "muster feeds resume crm", "muster feeds resume crm --skip", show=_show_changed)
def resume(
    *,
    name: Name,
    skip: Annotated[bool, typer.Option("--skip", help="Leave out the events that the receiver has refused.")] = False,
    tenant: options.MeantTenant = None,
) -> Record:
    """Resume a feed that is paused or halted."""
    return _change(tenant, name, "active", skip=skip)


@command(feeds, "rewind", "muster feeds rewind crm", show=_show_changed)
def rewind(*, name: Name, tenant: options.MeantTenant = None) -> Record:
    """Let a feed begin again: all members, then who has left, then changes."""
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        _, etag = found.feed_with_etag(meant, name)
        return found.rewind_feed(meant, name, etag=etag)[0]


@command(feeds, "replace-key", "muster feeds replace-key crm", show=_show_changed)
def replace_key(*, name: Name, tenant: options.MeantTenant = None) -> Record:
    """Replace the key that signs requests to a receiver.

    For a day, requests have the signatures of both. An operator writes the key with `muster feeds key`.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        _, etag = found.feed_with_etag(meant, name)
        return found.replace_feed_key(meant, name, etag=etag)[0]


@command(feeds, "delete", "muster feeds delete crm", show=show_done)
def delete(*, name: Name, tenant: options.MeantTenant = None) -> Done:
    """Delete a feed.

    Everything that it has delivered stays.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        _, etag = found.feed_with_etag(meant, name)
        found.delete_feed(meant, name, etag=etag)
    return Done(record={"deleted": name, "tenant": meant}, text=f"feed {name} is deleted")
