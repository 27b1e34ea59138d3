"""`muster fsck`."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.admin.audit_trail import audited
from orchestration.cli.admin.contexts import lake_context
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, safe
from orchestration.platform.deferred import deferred

if TYPE_CHECKING:
    from orchestration.operations.fsck import Report

with deferred(__name__):
    from orchestration.composition import administration

TOP = Group("")


def _show_report(report: "Report") -> None:
    for finding in report.findings:
        word = "repaired" if finding.repaired else finding.severity
        print_line(f"{word:<9} {finding.code}  {finding.subject}: {safe(finding.message)}")
    checked = f"{number(report.audiences)} audiences, {number(report.versions)} versions, {number(report.jobs)} jobs"
    print_line(f"{checked}: " + (f"{report.wrong} wrong" if report.wrong else "all is well"))


@command(
    TOP,
    "fsck",
    "muster fsck",
    "muster fsck --repair --json",
    show=_show_report,
    audit=lambda path, given: audited(path, given) if given["repair"] else nullcontext(),
)
def fsck(
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Repair derived data and remove staged leftovers.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Also read the archive and compare its lists of users.")] = False,
) -> "Answer[Report]":
    """Compare staging, lake and catalog.

    Exit code 7 if anything is wrong.
    """
    report = administration.fsck(lake_context()).run(repair=repair, deep=deep)
    return Answer(value=report, code=ExitCode.CHECK_FAILED if report.wrong else ExitCode.OK)
