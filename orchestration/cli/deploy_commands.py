"""`muster deploy synth` and `diff`: the deployment to AWS, as a CloudFormation template."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli import options
from orchestration.cli.console import print_json, print_line, print_table, say
from orchestration.cli.formatting import number, safe
from orchestration.cli.options import command, group

if TYPE_CHECKING:
    from orchestration.deploy.changes import Change

SettingsArgument = Annotated[
    Path, typer.Argument(metavar="SETTINGS", help="Settings of the deployment, a TOML file (docs/deploy.md).")
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    deploy = group(
        "deploy",
        "The deployment to AWS: one CloudFormation template from one settings file.",
        "muster deploy synth prod.toml --out build",
    )
    command(
        deploy, "synth", "muster deploy synth muster-deploy.toml", "muster deploy synth prod.toml --out build --json"
    )(synth)
    command(
        deploy,
        "diff",
        "muster deploy diff prod.toml --template build/muster.template.json",
        "muster deploy diff prod.toml --deployed",
    )(diff)
    app.add_typer(deploy)


def synth(
    settings: SettingsArgument,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Write the template there.")] = Path("build"),
    json: options.Json = False,
) -> None:
    """Write the template of a deployment.

    Settings that cannot be are refused, all at once and by their names. Neither
    an account nor Docker nor a network is needed; it takes some ten seconds.
    """
    from orchestration.deploy.checks import load
    from orchestration.deploy.synthesis import synthesise, write

    loaded = load(settings)
    template = synthesise(loaded)
    path = write(template, out, loaded)
    if json:
        print_json({"stack": loaded.name, "template": str(path), "resources": len(template["Resources"])})
        return
    print_line(f"{path}: {number(len(template['Resources']))} resources of the stack {loaded.name}")
    say(
        f"Next: aws cloudformation deploy --region {loaded.region} --stack-name {loaded.name} --template-file {path} "
        "--s3-bucket BUCKET --capabilities CAPABILITY_IAM"
    )


def diff(
    settings: SettingsArgument,
    *,
    template: Annotated[
        Path | None, typer.Option("--template", metavar="FILE", help="Compare with this template.")
    ] = None,
    deployed: Annotated[
        bool, typer.Option("--deployed", help="Compare with what is deployed; needs credentials of AWS.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Say what a deployment would change, and what would lose data.

    Without --template and --deployed everything is new.
    """
    from orchestration.deploy.changes import changes, deployed_template, read_template, taken_buckets
    from orchestration.deploy.checks import load
    from orchestration.deploy.synthesis import synthesise

    if template is not None and deployed:
        raise typer.BadParameter("give --template or --deployed, not both")
    loaded = load(settings)
    before = read_template(template) if template is not None else deployed_template(loaded) if deployed else {}
    found = changes(before, synthesise(loaded))
    taken = taken_buckets(loaded, before) if deployed else []
    if json:
        print_json({"changes": [change.as_record() for change in found], "buckets_taken": taken})
        return
    if not found:
        print_line("nothing changes")
    else:
        print_table(("CHANGE", "TYPE", "NAME", "WHAT"), [_row(change) for change in found])
    for change in found:
        if change.warning:
            print_line(f"CAREFUL {change.name}: {change.warning}")
    for bucket in taken:
        print_line(f"CAREFUL {bucket} exists and is not of this stack: name it in buckets.existing, or choose another")


def _row(change: "Change") -> tuple[str, str, str, str]:
    return change.kind, change.type.removeprefix("AWS::"), change.name, safe(" ".join(change.properties))
