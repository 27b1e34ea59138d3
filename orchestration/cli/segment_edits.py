"""`muster segments edit` and `upgrade`: another rule for a segment, with `--dry-run` only what it would change."""

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Answer, command
from orchestration.cli.console import print_note, print_pairs
from orchestration.cli.formatting import number, some_of
from orchestration.cli.rule_files import rule_text
from orchestration.cli.segment_commands import Name, Rule, Zone, segments, show_state, state_record
from orchestration.cli.segment_notes import rule_notes

if TYPE_CHECKING:
    from muster.client import Client

FORM: Final = re.compile(r"\s*rule\s+([12])\s*:", re.IGNORECASE)
SHOWN: Final = 10
Approve = Annotated[
    str | None,
    typer.Option("--approve", metavar="TOKEN", help="Make an edit that was refused, or shown, with this token."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show who would enter and leave; change nothing.")]


def _record(found: Record) -> Record:
    return found if "changes" in found else state_record(found)


def _show(found: Record) -> None:
    if "changes" in found:
        _show_preview(found)
    else:
        show_state(found)


def _show_preview(preview: Record) -> None:
    segment, *others = preview["changes"]
    print_pairs(
        [
            ("dry run", f"rule of {segment['segment']} in place of version {preview['rule_version']}; nothing changed"),
            ("would enter", some_of(segment["entering"], segment["entering_users"])),
            ("would leave", some_of(segment["leaving"], segment["leaving_users"])),
            ("would stay", number(segment["staying"])),
            ("as of", preview["as_of"]),
            *(
                (
                    "also",
                    f"{one['segment']}: would enter {number(one['entering'])}, would leave {number(one['leaving'])}",
                )
                for one in others
            ),
            *(("used by", f"schedule {name}") for name in preview["schedules"]),
            *(("used by", f"feed {name}") for name in preview["feeds"]),
        ]
    )
    if preview["approve"] is not None:
        print_note(
            "So many members change only with an approval: repeat it within 24 hours, without --dry-run and with\n"
            f"--approve {preview['approve']}"
        )
    if preview["same"]:
        print_note("The rule has the same meaning as before.")
    for name in preview["paused"]:
        print_note(f"Note: segment {name} is paused; it is counted as if it were active.")


@command(
    segments,
    "edit",
    'muster segments edit buyers --rule "count(purchase, 30d) >= 3"',
    'muster segments edit buyers --rule "count(purchase, 30d) >= 3" --dry-run',
    show=_show,
    record=_record,
)
def edit(
    *,
    name: Name,
    rule: Rule,
    timezone: Zone = None,
    dry_run: DryRun = False,
    approve: Approve = None,
    tenant: options.MeantTenant = None,
) -> Answer[Record]:
    """Change the rule of a segment.

    Users whom only one of the two rules matches enter or leave. The same rule
    in other words makes no new version. --dry-run counts them over the
    archive, also in the segments whose rules depend on this one.

    A change of more than 1,000 users and 20 % of the members (setting
    segment_edit_max_percent) is refused with a token; --approve TOKEN makes
    it, unless the numbers have changed by a tenth.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        return _changed(found, meant, name, rule_text(rule), timezone, dry_run=dry_run, approve=approve)


@command(
    segments,
    "upgrade",
    "muster segments upgrade buyers --dry-run",
    "muster segments upgrade buyers",
    show=_show,
    record=_record,
)
def upgrade(
    *, name: Name, dry_run: DryRun = False, approve: Approve = None, tenant: options.MeantTenant = None
) -> Answer[Record]:
    """Let a rule ask about all members of its audiences (`rule 2: ...`).

    In its first form, a rule only asks about users with an event or a
    profile; other members of an audience that it names cannot match.
    --dry-run shows who would enter.
    """
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        segment = found.segment(meant, name)
        form = FORM.match(segment["rule"])
        if form is not None and form[1] == "2":
            print_note(f"The rule of {name} is in this form.")
            return Answer(value=dict(segment))
        text = f"rule 2: {segment['rule'][form.end() if form else 0 :].strip()}"
        return _changed(found, meant, name, text, segment["timezone"], dry_run=dry_run, approve=approve)


def _changed(
    found: "Client", tenant: str, name: str, text: str, timezone: str | None, *, dry_run: bool, approve: str | None
) -> Answer[Record]:
    if dry_run:
        preview = found.preview_edit(tenant, name, text, timezone=timezone, users=SHOWN)
        return Answer(value=dict(preview), notes=rule_notes(found, tenant, text, timezone))
    before, etag = found.segment_with_etag(tenant, name)
    changed, _ = found.edit_segment(tenant, name, text, etag=etag, timezone=timezone, approve=approve)
    if changed["rule_version"] == before["rule_version"]:
        print_note("The rule has the same meaning as before: nothing has changed.")
    return Answer(value=changed, notes=rule_notes(found, tenant, text, timezone))
