"""`muster segments`: sets of users that rules describe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from muster.errors import ApiError
from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line, print_note, print_pairs, print_table
from orchestration.cli.formatting import duration, left_out_texts, member_pairs, number, shorten, text_time
from orchestration.cli.rule_files import rule_text
from orchestration.cli.segment_notes import rule_notes

if TYPE_CHECKING:
    from muster.api_types import Coverage
    from muster.client import Client

TOP = Group("")
segments = Group("segments", "muster segments list", 'muster segments create buyers --rule "count(purchase, 30d) >= 2"')
TOP.add_typer(segments)
Name = Annotated[str, typer.Argument(metavar="SEGMENT", help="Name of the segment.")]
Rule = Annotated[
    str, typer.Option("--rule", metavar="RULE|@FILE", help="The rule, or a file with it, as text or JSON.")
]
Zone = Annotated[
    str | None,
    typer.Option("--timezone", metavar="ZONE", help="IANA time zone of dates, and of times without an offset."),
]
WIDTH: Final = 60
"""Width of a rule in a list."""


def state_record(segment: Record) -> Record:
    """What a command that changed a segment says of it."""
    return {name: segment[name] for name in ("tenant", "segment", "state", "rule_version")}


def show_state(segment: Record) -> None:
    """Show it."""
    print_line(f"segment {segment['segment']} is {segment['state']}, rule version {segment['rule_version']}")


@command(
    segments,
    "create",
    'muster segments create buyers --rule "count(purchase, 30d) >= 2 and age >= 25"',
    "muster segments create lapsed --rule @lapsed.rule --timezone Asia/Tokyo",
    show=show_state,
    record=state_record,
)
def create(*, name: Name, rule: Rule, timezone: Zone = None, tenant: options.MeantTenant = None) -> Answer[Record]:
    """Create a segment.

    Workers start from the archived history, then follow events and profiles.
    `muster segments preview` counts the matches of a rule beforehand.
    """
    text = rule_text(rule)
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        created, _ = found.create_segment(meant, name, text, timezone=timezone)
        return Answer(value=created, notes=rule_notes(found, meant, text, timezone))


def _show_list(records: Sequence[Record]) -> None:
    if not records:
        print_note("There are no segments.")
        return
    print_table(
        ("TENANT", "SEGMENT", "STATE", "MEMBERS", "LAG", "VERSION", "RULE"),
        [
            (
                r["tenant"],
                r["segment"],
                r["state"],
                _members(r),
                _lag(r),
                r["rule_version"],
                shorten(" ".join(r["rule"].split()), WIDTH),
            )
            for r in records
        ],
        right=("MEMBERS",),
    )


@command(
    segments,
    "list",
    "muster segments list",
    "muster segments list --tenant acme --json",
    show=_show_list,
)
def list_(*, tenant: options.OnlyTenant = None) -> Sequence[Record]:
    """List segments with their sizes."""
    with remote.service() as found:
        return [one for name in remote.meant_tenants(found, tenant) for one in found.segments(name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A segment, and since when it has its rule."""

    record: Record
    rule_since: str

    def as_record(self) -> Record:
        """Plain JSON data."""
        return self.record


def _show_segment(shown: Shown) -> None:
    record = shown.record
    behind = "" if not record["behind"] else f", {number(record['behind'])} records are not processed yet"
    reported = f"{record['reported']} of {record['partitions']} partitions have reported this version of the rule"
    print_pairs(
        [
            ("segment", f"{record['tenant']}/{record['segment']}"),
            ("state", record["state"]),
            ("rule", " ".join(record["rule"].split())),
            *([("time zone", record["timezone"])] if record["timezone"] else []),
            ("rule version", f"{record['rule_version']}, of {text_time(shown.rule_since)} UTC"),
            ("members", _members(record)),
            *member_pairs(record),
            *(("not excluded", f"standing list {name}") for name in record["unexcluded_lists"]),
            *(("left out", text) for text in left_out_texts(record["bounded"] or ())),
            ("as of", (record["as_of"] or "-") + (f", {_lag(record)} ago" if record["as_of"] else "") + behind),
            ("complete", "yes" if record["complete"] else reported),
        ]
    )


@command(
    segments,
    "show",
    "muster segments show buyers",
    "muster segments show buyers --json",
    show=_show_segment,
)
def show(*, name: Name, tenant: options.MeantTenant = None) -> Shown:
    """Show a segment: its rule, its size and how current it is.

    If the rule names audiences, also shows how many of their members without
    an event or a profile are outside, and in form 2 how many it matches; of a
    sum or an average, how many users have more events than count. Names the
    standing lists of the tenant that the rule does not exclude: exports leave
    them out, who follows the membership changes does not.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        segment = found.segment(meant, name)
        rules = found.rule_versions(meant, name)
        return Shown(record={**segment, **_coverage(found, meant, name)}, rule_since=rules[-1]["created_at"])


def _coverage(found: "Client", tenant: str, name: str) -> Record:
    coverage: Coverage
    try:
        coverage = found.segment_coverage(tenant, name)
    except ApiError as exc:
        trouble = f"{exc.code}: {exc.message}"
        coverage = {"behind": None, "outside": None, "known_only_by": None, "bounded": None, "trouble": trouble}
    if coverage["trouble"] is not None:
        print_note(f"Note: whom the rule does not consider could not be counted now: {coverage['trouble']}")
    return {name: coverage[name] for name in ("behind", "outside", "known_only_by", "bounded")}


def _change_state(tenant: str | None, name: str, state: Literal["active", "paused"]) -> Record:
    with remote.service() as found:
        return found.change_segment_state(remote.resolve_tenant(found, tenant), name, state)[0]


@command(segments, "pause", "muster segments pause buyers", show=show_state, record=state_record)
def pause(*, name: Name, tenant: options.MeantTenant = None) -> Record:
    """Stop evaluating a segment: its members stay as they are."""
    return _change_state(tenant, name, "paused")


@command(segments, "resume", "muster segments resume buyers", show=show_state, record=state_record)
def resume(*, name: Name, tenant: options.MeantTenant = None) -> Record:
    """Resume a paused segment, and emit the changes since the pause."""
    return _change_state(tenant, name, "active")


@command(segments, "delete", "muster segments delete buyers", show=show_state, record=state_record)
def delete(*, name: Name, tenant: options.MeantTenant = None) -> Record:
    """Delete a segment: all of its members leave.

    Its rules stay in the catalog. A segment that another rule names cannot be deleted.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        _, etag = found.segment_with_etag(meant, name)
        return {**found.delete_segment(meant, name, etag=etag), "state": "deleted"}


def _show_versions(found: Sequence[Record]) -> None:
    print_table(
        ("VERSION", "CREATED (UTC)", "BY", "ZONE", "RULE"),
        [
            (
                v["rule_version"],
                text_time(v["created_at"]),
                v["author"],
                v["timezone"] or "",
                " ".join(v["rule"].split()),
            )
            for v in found
        ],
    )


@command(segments, "versions", "muster segments versions buyers", show=_show_versions)
def versions(*, name: Name, tenant: options.MeantTenant = None) -> Sequence[Record]:
    """List the past and present rules of a segment."""
    with remote.service() as found:
        return found.rule_versions(remote.resolve_tenant(found, tenant), name)


def _show_sizes(found: Sequence[Record]) -> None:
    rows, before = [], None
    for one in found:
        change = "" if before is None else f"{one['members'] - before:+,}"
        rows.append((text_time(one["hour"]), number(one["members"]), change, one["rule_version"]))
        before = one["members"]
    print_table(("HOUR", "MEMBERS", "CHANGE", "RULE VERSION"), rows)


@command(
    segments,
    "sizes",
    "muster segments sizes buyers",
    "muster segments sizes buyers --days 90 --json",
    show=_show_sizes,
)
def sizes(
    *,
    name: Name,
    days: Annotated[int, typer.Option(min=1, max=90, help="How far to look back.")] = 30,
    tenant: options.MeantTenant = None,
) -> Sequence[Record]:
    """Show how many members a segment had, hour by hour.

    Of each hour the last size that all partitions had reported; hours without
    one are left out, as while workers rest. Sizes are kept for 90 days.
    """
    with remote.service() as found:
        return found.segment_sizes(remote.resolve_tenant(found, tenant), name, days=days)


def _members(record: Record) -> str:
    return number(record["members"]) + ("" if record["complete"] or record["members"] is None else " so far")


def _lag(record: Record) -> str:
    return "-" if record["lag_s"] is None else duration(record["lag_s"])
