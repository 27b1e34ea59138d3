"""Resources of the workflow, under the same names in the local engine and at AWS.

This module has the names, events and functions; `functions.toml` and the `.asl.json` files, which `asl` renders, are
beside it. The modules that register them (`orchestration.local.engine.deploy`) or deploy them (`orchestration.deploy`)
add only their own specifics.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.errors import FatalError

WORKFLOW: Final = Path(__file__).parent
FUNCTIONS_FILE: Final = "functions.toml"
PREFIX: Final = "muster-"
CLUSTER: Final = "muster"
TASK_FAMILY: Final = "muster-task"
"""Tasks on Fargate. The ASL names the family without a revision: a new image needs no new state machine."""
MACHINE_TASK_FAMILY: Final = "muster-machine-task"
"""The same container on our own EC2 instances, for work too large for Fargate."""
MACHINE_CAPACITY: Final = "muster-machines"
"""The capacity provider that starts and ends those instances. AWS rejects names that begin with `ecs` or `aws`."""
CONTAINER: Final = "muster"
"""Name of the container in the task definition; overrides in the ASL refer to it."""
INBOX_RULE: Final = "muster-inbox"
INBOX_MACHINE: Final = "ImportAudience"
MACHINE_SUFFIX: Final = ".asl.json"
SUBSTITUTION: Final = re.compile(r"\$\{(\w+)\}")
TASK_STOP_TIMEOUT_S: Final = 30
SUBSTITUTIONS: Final = (
    "TaskCluster",  # ARN of the cluster
    "TaskDefinition",  # TASK_FAMILY
    "MachineTaskDefinition",  # MACHINE_TASK_FAMILY
    "ExportTaskRole",  # ARN of the role that replaces the family's role for exports
    "MachineCapacity",  # name of the capacity provider
    "TaskSubnets",  # comma-separated ids
    "TaskSecurityGroups",  # comma-separated ids
)
"""Substitutions in the definitions, besides `<Name>Function`, the ARN of each function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """One Lambda function; `${<name>Function}` in the ASL is its ARN."""

    name: str
    handler: str
    timeout_s: int = 60
    memory_mb: int = 512
    share: float | None = None
    """The largest part of all concurrent calls, for a function that nothing else limits: every uploaded file calls it
    at once, whereas the limits of running jobs bound the calls of later stages."""


def share_of(calls: int, share: float) -> int:
    """The concurrent calls of a function with a share."""
    return max(1, int(calls * share))


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """One state machine; `definition` still has its substitutions."""

    name: str
    definition: str


EVENT_FUNCTION: Final = FunctionSpec(
    name="JobEvents", handler="orchestration.entrypoints.job_event_handler.publish", timeout_s=60, memory_mb=256
)
"""Forwards job events from Kafka to SNS. No state machine calls it: an event source mapping does, at AWS only."""


def function_specs(directory: Path = WORKFLOW) -> tuple[FunctionSpec, ...]:
    """The functions in `functions.toml`; none without the file. Raises `FatalError` BAD_WORKFLOW."""
    path = directory / FUNCTIONS_FILE
    if not path.exists():
        return ()
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
        return tuple(FunctionSpec(name=name, **entry) for name, entry in entries.items())
    except (tomllib.TOMLDecodeError, TypeError) as exc:
        raise FatalError("BAD_WORKFLOW", f"{path} cannot be read: {exc}", path=str(path)) from exc


def machine_specs(directory: Path = WORKFLOW) -> tuple[MachineSpec, ...]:
    """Every `<name>.asl.json`; for example, `import_audience` becomes the machine ImportAudience."""
    return tuple(
        MachineSpec(
            name="".join(word.capitalize() for word in path.name.removesuffix(MACHINE_SUFFIX).split("_")),
            definition=path.read_text(encoding="utf-8"),
        )
        for path in sorted(directory.glob(f"*{MACHINE_SUFFIX}"))
    )


def substitute(machine: MachineSpec, values: Mapping[str, str]) -> str:
    """The definition with every `${Name}` replaced. Raises `FatalError` BAD_WORKFLOW for a name without a value."""
    unknown = sorted(set(SUBSTITUTION.findall(machine.definition)) - values.keys())
    if unknown:
        raise FatalError(
            "BAD_WORKFLOW",
            f"{machine.name}: no value for {', '.join(unknown)}",
            machine=machine.name,
            names=unknown,
        )
    return SUBSTITUTION.sub(lambda match: values[match[1]], machine.definition)


def inbox_pattern(bucket: str, prefix: str = "") -> dict[str, Any]:
    """Pattern of the events that start an import: object created in the inbox bucket, below the prefix if set."""
    detail: dict[str, Any] = {"bucket": {"name": [bucket]}}
    if prefix:
        detail["object"] = {"key": [{"prefix": prefix}]}
    return {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail}
