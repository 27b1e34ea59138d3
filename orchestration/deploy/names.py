"""The names of the stack's resources, and AWS' limits for each kind of name.

Only resources that others refer to by name are named; CloudFormation names the rest, and cuts those to fit.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from orchestration.deploy.settings import DeploySettings
from orchestration.workflow.resources import function_specs, machine_specs
from orchestration.workflow.timers import NEXT_CALL, TIMERS

BUCKET: Final = re.compile(
    r"(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9](?<!-s3alias)(?<!--ol-s3)"
)
"""No dots: they break TLS host names."""
STACK: Final = re.compile(r"(?!aws|ecs|fargate)[a-z][a-z0-9-]*[a-z0-9]")
"""Also the prefix of a capacity provider, which may not begin with these three words."""
JOB_EVENTS_GROUP: Final = "muster-job-events-sns"
"""Consumer group of the mapping between Kafka and the function `JobEvents`."""
LIMITS: Final = {
    "function": 64,
    "state machine": 80,
    "prefix of state machines": 40,  # the product's own limit
    "rule": 64,
    "schedule": 64,
    "cluster": 255,
    "task family": 255,
    "capacity provider": 255,
    "log group": 512,
    "stack": 128,
}
"""Longest name, in characters (API references of Lambda, Step Functions, EventBridge, ECS, CloudWatch Logs)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """All names of one deployment, prefixed with its own. With `muster` they are those of a local stack."""

    deployment: str

    def of(self, word: str) -> str:
        """The name of a function, a queue, a family: `muster-RegisterImport`."""
        return f"{self.deployment}-{word}"

    @property
    def machine_prefix(self) -> str:
        """Prefix of the name of each state machine."""
        return f"{self.deployment}-"

    @property
    def cluster(self) -> str:
        """The ECS cluster."""
        return self.deployment

    @property
    def task_family(self) -> str:
        """Tasks on Fargate."""
        return self.of("task")

    @property
    def machine_task_family(self) -> str:
        """Tasks on EC2."""
        return self.of("machine-task")

    @property
    def capacity(self) -> str:
        """The capacity provider of EC2 instances."""
        return self.of("machines")

    @property
    def rule(self) -> str:
        """The rule that starts imports."""
        return self.of("inbox")

    @property
    def rules(self) -> tuple[str, ...]:
        """All rules."""
        return (self.rule, self.of("deployed"), *(self.of(timer.name) for timer in TIMERS))

    def function_logs(self, function: str) -> str:
        """Lambda's own name for the log group of a function."""
        return f"/aws/lambda/{self.of(function)}"

    def container_logs(self, part: str) -> str:
        """The log group of a service, or of tasks."""
        return f"/{self.deployment}/{part}"

    def machine_logs(self, machine: str) -> str:
        """The log group of a state machine. Names with this prefix share one resource policy, whose size is limited."""
        return f"/aws/vendedlogs/states/{self.of(machine)}"

    def all(self) -> Iterator[tuple[str, str]]:
        """(kind, name) of every name with a limit."""
        yield "stack", self.deployment
        for function in function_specs():
            yield "function", self.of(function.name)
            yield "log group", self.function_logs(function.name)
        for machine in machine_specs():
            yield "state machine", self.of(machine.name)
            yield "log group", self.machine_logs(machine.name)
        yield "prefix of state machines", self.machine_prefix
        for rule in self.rules:
            yield "rule", rule
        yield "schedule", self.of(NEXT_CALL)
        yield "cluster", self.cluster
        yield "task family", self.task_family
        yield "task family", self.machine_task_family
        yield "capacity provider", self.capacity


def names_of(settings: DeploySettings) -> Names:
    """The names of a deployment."""
    return Names(deployment=settings.name)
