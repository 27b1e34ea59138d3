"""`muster deploy check`, `synth` and `diff`: the deployment to AWS, as a CloudFormation template."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli.commands import Answer, Done, Group, command, show_done
from orchestration.cli.console import print_line, print_table
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, safe
from orchestration.platform.deferred import deferred
from schemas.records import as_record

if TYPE_CHECKING:
    from orchestration.deploy.account.asking import AccountFinding
    from orchestration.deploy.changes import Change

with deferred(__name__):
    from orchestration.deploy import changes, checks, synthesis
    from orchestration.deploy.account import checks as account_checks

TOP = Group("")
deploy = Group("deploy", "muster deploy synth prod.toml --out build")
TOP.add_typer(deploy)
SettingsArgument = Annotated[
    Path, typer.Argument(metavar="SETTINGS", help="TOML file with the settings of the deployment (docs/deploy.md).")
]


def _show_findings(found: "Sequence[AccountFinding]") -> None:
    for one in found:
        print_line(f"{one.severity:<6} {one.where}: {safe(one.what)}" + (f"; {safe(one.advice)}" if one.advice else ""))


def _record_of_findings(found: "Sequence[AccountFinding]") -> dict[str, Any]:
    return {"ok": not _any_wrong(found), "findings": [as_record(one) for one in found]}


def _any_wrong(found: "Sequence[AccountFinding]") -> bool:
    return any(one.severity == "wrong" for one in found)


@command(
    deploy,
    "check",
    "muster deploy check prod.toml",
    "muster deploy check prod.toml --json",
    show=_show_findings,
    record=_record_of_findings,
)
def check(settings: SettingsArgument) -> "Answer[Sequence[AccountFinding]]":
    """Say what the account lacks, before anything is created. Reads only.

    Network, secrets and their form, Kafka, quotas, the image, names that are taken. Needs AWS credentials; what they
    may not ask is noted. Exit code 7 if anything is wrong, 1 if AWS cannot be asked.
    """
    loaded = checks.load(settings)
    found = list(account_checks.check_account(loaded, account_checks.account_clients(loaded), account_checks.fetch_url))
    return Answer(value=found, code=ExitCode.CHECK_FAILED if _any_wrong(found) else ExitCode.OK)


@command(
    deploy,
    "synth",
    "muster deploy synth muster-deploy.toml",
    "muster deploy synth prod.toml --out build --json",
    show=show_done,
)
def synth(
    settings: SettingsArgument,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Directory for the template.")] = Path("build"),
) -> Answer[Done]:
    """Write the CloudFormation template of a deployment.

    Invalid settings are refused, all at once and by name. Needs no AWS account, Docker or network, and takes about ten
    seconds.
    """
    loaded = checks.load(settings)
    template = synthesis.synthesise(loaded)
    path = synthesis.write(template, out, loaded)
    resources = len(template["Resources"])
    next_step = (
        f"Next: aws cloudformation deploy --region {loaded.region} --stack-name {loaded.name} --template-file {path} "
        "--s3-bucket BUCKET --capabilities CAPABILITY_IAM"
    )
    return Answer(
        value=Done(
            record={"stack": loaded.name, "template": str(path), "resources": resources},
            text=f"{path}: {number(resources)} resources in the stack {loaded.name}",
        ),
        notes=[next_step],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Changes a deployment would make; `buckets_taken`: existing buckets that do not belong to its stack."""

    changes: "Sequence[Change]"
    buckets_taken: Sequence[str]

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"changes": [as_record(change) for change in self.changes], "buckets_taken": self.buckets_taken}


def _show_difference(found: Difference) -> None:
    if not found.changes:
        print_line("nothing changes")
    else:
        print_table(("CHANGE", "TYPE", "NAME", "WHAT"), [_row(change) for change in found.changes])
    for change in found.changes:
        if change.warning:
            print_line(f"WARNING {change.name}: {change.warning}")
    for bucket in found.buckets_taken:
        print_line(f"WARNING {bucket} exists outside this stack: name it in buckets.existing, or choose another bucket")


def _row(change: "Change") -> tuple[str, str, str, str]:
    return change.kind, change.type.removeprefix("AWS::"), change.name, safe(" ".join(change.properties))


@command(
    deploy,
    "diff",
    "muster deploy diff prod.toml --template build/muster.template.json",
    "muster deploy diff prod.toml --deployed",
    show=_show_difference,
)
def diff(
    settings: SettingsArgument,
    *,
    template: Annotated[
        Path | None, typer.Option("--template", metavar="FILE", help="Compare with this template.")
    ] = None,
    deployed: Annotated[
        bool, typer.Option("--deployed", help="Compare with the deployed stack; needs AWS credentials.")
    ] = False,
) -> Difference:
    """Show what a deployment would change or lose.

    Without --template and --deployed, every resource counts as new.
    """
    if template is not None and deployed:
        raise typer.BadParameter("give --template or --deployed, not both")
    loaded = checks.load(settings)
    before: dict[str, Any] = {}
    if template is not None:
        before = changes.read_template(template)
    elif deployed:
        before = changes.deployed_template(loaded)
    found = changes.changes(before, synthesis.synthesise(loaded))
    return Difference(changes=found, buckets_taken=changes.taken_buckets(loaded, before) if deployed else [])
