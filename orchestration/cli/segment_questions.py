"""Questions about segments: `muster segments preview`, `muster segments check`, `muster explain`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli import options
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line, print_note, print_pairs
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, outside_texts, safe
from orchestration.cli.segment_commands import Name, Zone, segments
from orchestration.cli.segment_notes import outside_notes, unseen_notes
from orchestration.cli.session import lake_context, stack_context
from orchestration.platform.deferred import deferred
from schemas.records import as_record

if TYPE_CHECKING:
    from orchestration.operations.segment_check import Checked
    from orchestration.operations.segment_queries import Preview

with deferred(__name__):
    from orchestration.kinds import wiring
    from orchestration.operations import segment_queries
    from orchestration.operations import segments as operations
    from orchestration.operations import wiring as operations_wiring

TOP = Group("")


def _preview_record(found: "Preview") -> dict[str, Any]:
    return {
        "members": found.members,
        "as_of": found.at.isoformat(),
        "unseen_events": found.unseen_events,
        "unseen_attributes": found.unseen_attributes,
        "mistyped": [as_record(one) for one in found.mistyped],
        "paused": found.paused,
        "outside": [as_record(one) for one in found.outside],
    }


def _show_preview(found: "Preview") -> None:
    print_line(f"{number(found.members)} {'user' if found.members == 1 else 'users'}")
    for note in unseen_notes(found.unseen_events, found.unseen_attributes, found.mistyped):
        print_note(note)
    for note in outside_notes([as_record(one) for one in found.outside]):
        print_note(note)
    for name in found.paused:
        print_note(f"Note: segment {name} is paused; it is counted as if it were active.")


@command(
    segments,
    "preview",
    'muster segments preview "count(purchase, 30d) >= 2 and age >= 25"',
    "muster segments preview @lapsed.rule --timezone Asia/Tokyo",
    effect="reads",
    show=_show_preview,
    record=_preview_record,
)
def preview(
    *,
    rule: Annotated[str, typer.Argument(metavar="RULE|@FILE", help="The rule, or a file with it.")],
    timezone: Zone = None,
    tenant: options.Tenant = "default",
) -> "Preview":
    """Count the users that a rule matches now, exactly.

    Counts over the archive, some seconds behind the topics. Members of
    audiences without an event or a profile are in no segment; their number is
    shown.
    """
    given = operations.read_rule(rule, timezone)
    context = lake_context()
    return segment_queries.preview(
        tenant,
        given,
        audiences=context.audiences,
        meanings=wiring.meanings(context),
        segments=context.segments,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentCheck:
    """A segment whose members were compared with its rule."""

    tenant: str
    segment: str
    check: "Checked"

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        compared = self.check.comparison
        return {
            "segment": self.segment,
            "tenant": self.tenant,
            "rule_version": self.check.rule_version,
            "cut_id": self.check.cut_id,
            "as_of": self.check.at.isoformat(),
            "equal": compared.equal,
            "by_rule": compared.by_rule,
            "by_stream": compared.by_stream,
            "missing": {"users": compared.missing, "some": compared.missing_users},
            "extra": {"users": compared.extra, "some": compared.extra_users},
            "outside": [as_record(one) for one in self.check.outside],
        }


def _show_checked(found: SegmentCheck) -> None:
    check, compared = found.check, found.check.comparison
    named = f"{found.tenant}/{found.segment}, rule version {check.rule_version}, as of {check.at.isoformat()}"
    print_pairs(
        [
            ("segment", named),
            ("by the rule", number(compared.by_rule)),
            ("by the stream", number(compared.by_stream)),
            ("missing", _sample(compared.missing, compared.missing_users)),
            ("extra", _sample(compared.extra, compared.extra_users)),
            *(("outside", text) for text in outside_texts([as_record(one) for one in check.outside])),
            ("", "equal" if compared.equal else "DIFFERENT"),
        ]
    )


def _sample(count: int, examples: Sequence[str]) -> str:
    shown = ", ".join(map(safe, examples))
    return number(count) if not examples else f"{number(count)}: {shown}{', ...' if count > len(examples) else ''}"


@command(
    segments,
    "check",
    "muster segments check buyers",
    "muster segments check buyers --timeout 600 --json",
    effect="reads",
    show=_show_checked,
)
def check(
    *,
    name: Name,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to wait for workers and archive.")
    ] = 120,
    tenant: options.Tenant = "default",
) -> Answer[SegmentCheck]:
    """Compare the workers' members with the rule over the archive.

    Both are taken at the same offsets and instant. Exit code 7 if they differ.
    """
    found = operations_wiring.segment_check(stack_context()).run(tenant, name, timeout)
    return Answer(
        value=SegmentCheck(tenant=tenant, segment=name, check=found),
        code=ExitCode.OK if found.comparison.equal else ExitCode.CHECK_FAILED,
    )


def _show_explained(found: Mapping[str, Any]) -> None:
    is_in = "is in" if found["member"] else "is not in"
    print_line(
        f"{safe(found['user'])} {is_in} {found['segment']} as of {found['as_of']} (partition {found['partition']})"
    )
    if found["outside"]:
        audiences = ", ".join(found["outside"])
        print_line(f"outside: a member of {audiences} without an event or a profile; no rule covers such users")
    for part in found["groups"]:
        print_line(f"{_mark(part['true'])} {'none of' if part['negated'] else 'one of'}")
        for condition in part["conditions"]:
            print_line(f"    {_mark(condition['true'])} {safe(condition['condition'])}{_evidence(condition)}")
            for event in condition.get("events", ()):
                id_ = "" if event["event_id"] is None else f", id {safe(event['event_id'])}"
                print_line(f"          {event['occurred_at']}, offset {event['offset']}{id_}")
    for paused in found["paused"]:
        print_note(f"Note: {paused} is paused; this is what its rule says now.")


def _evidence(condition: dict[str, Any]) -> str:
    if "value" in condition:
        value = condition["value"]
        return "   (no value)" if value is None else f"   (value {safe(value)})"
    if "counted" not in condition:
        return ""
    changes = f", changes at {condition['changes_at']}" if condition.get("changes_at") else ""
    return f"   ({number(condition['counted'])} counted{changes})"


def _mark(true: bool) -> str:  # noqa: FBT001  # an answer
    return "yes" if true else "no "


@command(
    TOP,
    "explain",
    "muster explain buyers alice",
    "muster explain buyers alice --as-of 2026-11-25T12:00:00Z --json",
    effect="reads",
    show=_show_explained,
)
def explain(
    *,
    name: Name,
    user: Annotated[str, typer.Argument(metavar="USER", help="User id.")],
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="ISO 8601 with an offset, instead of now.")
    ] = None,
    tenant: options.Tenant = "default",
) -> Mapping[str, Any]:
    """Explain from the archive why a user is in a segment or not."""
    context = lake_context()
    at = None if as_of is None else options.instant(as_of, "--as-of")
    return segment_queries.explain(
        tenant,
        name,
        user,
        at,
        archive=context.archive,
        meanings=wiring.meanings(context),
        segments=context.segments,
        settings=context.settings,
    )
