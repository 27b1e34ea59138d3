"""`muster inspect`: a local file by this process, an object by the service."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line, print_pairs, print_table
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, safe, size
from orchestration.cli.import_target import Kind, checked_kind
from orchestration.platform.deferred import deferred

with deferred(__name__):
    from muster import following
    from orchestration.operations import inspection

TOP = Group("")
INSPECT_FAULTS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """Findings about a file, with hints, and the `command` that imports it; None if that is impossible."""

    found: Record
    command: str | None

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**self.found, "import": self.command}


def _show_inspection(inspected: Inspected) -> None:
    found = inspected.found
    packed = "" if found["compression"] in (None, "none") else f", {found['compression']}"
    encoding = f", {found['encoding']}" if found["encoding"] else ""
    print_pairs(
        [
            ("file", f"{found['name']}, {size(found['size'])}"),
            ("format", f"{found['format'] or 'unknown'}{packed}{encoding}"),
            ("rows", f"{number(found['rows'])}, {number(found['rejected'])} of them would be rejected"),
        ]
    )
    if found["columns"]:
        print_line("")
        print_table(
            ("COLUMN", "TYPE", "EMPTY", "EXAMPLES, OR WHY IT IS NOT KEPT"),
            [
                (
                    c["name"],
                    f"{c['type'] or 'not kept'}{' (id)' if c['is_id'] else ''}",
                    number(c["nulls"]),
                    c.get("reason") or ", ".join(c["examples"]),
                )
                for c in found["columns"]
            ],
            right=("EMPTY",),
        )
    print_line("")
    for reject in found["rejects"][:INSPECT_FAULTS]:
        print_line(safe(_describe(reject)))
    if found["rejected"] > INSPECT_FAULTS:
        print_line(", ".join(f"{code} {number(n)}" for code, n in found["rejected_by_code"].items()))
    if (fault := found["fault"]) is not None:
        print_line(f"{fault['code']}: {safe(fault['message'])}", style="red")
    for one in sorted(_findings(found), key=lambda one: bool(one["blocking"])):  # what must be done first comes last
        print_line(f"note: {safe(one['message'])}" + ("" if one["suggestion"] is None else ":"))
        if one["suggestion"] is not None:
            print_line(f"{'' if one['blocking'] else '  '}{one['suggestion']}")
    if inspected.command is not None:
        print_line(inspected.command)


def _findings(found: Record) -> list[Record]:
    """The findings; a service of the release before has them as sentences alone."""
    sentences = [{"message": hint, "suggestion": None, "blocking": False} for hint in found["hints"]]
    findings: list[Record] = found.get("findings", sentences)
    return findings


def _describe(reject: Record) -> str:
    """One reject in words, as errors have it: position, column, code and reason."""
    if reject["line"] is not None:
        location = f"line {reject['line']}"
    elif reject["ordinal"] is not None:
        location = f"row {reject['ordinal'] + 1}"
    else:
        location = "unknown position"
    column = f", column {reject['column']}" if reject["column"] is not None else ""
    return f"{location}{column}: {reject['code']}: {reject['reason']}"


@command(
    TOP,
    "inspect",
    "muster inspect people.csv",
    "muster inspect orders.csv.gz --kind events --json",
    show=_show_inspection,
)
def inspect(
    *,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A local file, or s3://bucket/key.")],
    kind: Kind = "audience",
    format_: options.Format = None,
    tenant: options.MeantTenant = None,
) -> Answer[Inspected]:
    """Inspect a file: columns, types, faults.

    Ends with a suggested import command.
    """
    wanted = checked_kind(kind)
    if source.startswith("s3://"):
        with remote.service() as service:
            meant = remote.resolve_tenant(service, tenant)
            begun = service.begin_inspection(meant, source, kind=wanted, format=format_)
            result = following.result(service, meant, begun)
        found: Record = {name: value for name, value in result.items() if name != "command"}
        suggested = result["command"]
    else:
        file, suggestion = inspection.inspect_file(source, kind=wanted, format_=format_)
        found, suggested = suggestion.added_to(file), suggestion.command
    code = ExitCode.USER_ERROR if suggested is None else ExitCode.OK
    return Answer(value=Inspected(found=found, command=suggested), code=code)
