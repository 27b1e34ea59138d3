"""Registers the workflow with the engine: functions, cluster, task families, services, state machines, the inbox rule.

The state machines are the files that AWS gets, byte for byte, with `${Name}` replaced as CloudFormation's
DefinitionSubstitutions do. moto keeps everything in memory, so this runs at every start; it is idempotent.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from orchestration.operations.scaling import limits_of
from orchestration.platform.settings import Settings
from orchestration.workflow.resources import (
    CLUSTER,
    CONTAINER,
    INBOX_MACHINE,
    INBOX_RULE,
    MACHINE_CAPACITY,
    MACHINE_TASK_FAMILY,
    PREFIX,
    TASK_FAMILY,
    TASK_STOP_TIMEOUT_S,
    FunctionSpec,
    MachineSpec,
    function_specs,
    inbox_pattern,
    machine_specs,
    substitute,
)
from orchestration.workflow.timers import ENSURE, NEXT_CALL, TIMERS, at_expression, resource
from segmentation.scaling import Scaled

if TYPE_CHECKING:
    from mypy_boto3_ecs.client import ECSClient
    from mypy_boto3_ecs.type_defs import ContainerDefinitionTypeDef
    from mypy_boto3_events.client import EventBridgeClient
    from mypy_boto3_stepfunctions.client import SFNClient

IMAGE: Final = "muster:local"
SUBNETS: Final = ("subnet-a", "subnet-b")
SECURITY_GROUPS: Final = ("sg-tasks",)
"""Placeholder network of tasks for the definitions. Tasks use the host's network; nothing reads these values."""


def state_machine_arn(settings: Settings, name: str = INBOX_MACHINE) -> str:
    """ARN of a state machine on this engine."""
    return f"arn:aws:states:{settings.aws_region}:{settings.account_id}:stateMachine:{name}"


def deploy(
    settings: Settings,
    *,
    functions: Sequence[FunctionSpec] | None = None,
    machines: Sequence[MachineSpec] | None = None,
) -> Mapping[str, str]:
    """Register everything, and update what exists. Returns the substitutions used.

    Raises `FatalError` BAD_WORKFLOW, and botocore's errors for what the engine refuses.
    """
    functions = function_specs() if functions is None else functions
    machines = machine_specs() if machines is None else machines
    role = _role(settings)
    values = {f"{f.name}Function": _function(settings, f, role) for f in functions} | _tasks(settings, role)
    sfn = _client(settings, "stepfunctions")
    for machine in machines:
        _machine(sfn, settings, machine, substitute(machine, values), role)
    if any(machine.name == INBOX_MACHINE for machine in machines):
        _inbox_rule(_client(settings, "events"), settings, role)
    if not limits_of(settings).fixed:
        _timers(settings, values, role)
    return values


def _client(settings: Settings, service: str) -> Any:
    import boto3

    return boto3.client(  # type: ignore[call-overload]  # the service is a variable
        service,
        endpoint_url=settings.engine_url,
        region_name=settings.aws_region,
        **settings.engine_keys(),
    )


def _role(settings: Settings) -> str:
    iam = _client(settings, "iam")
    policy = {"Version": "2012-10-17", "Statement": []}
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName="muster", AssumeRolePolicyDocument=json.dumps(policy))
    arn: str = iam.get_role(RoleName="muster")["Role"]["Arn"]
    return arn


def _function(settings: Settings, spec: FunctionSpec, role: str) -> str:
    client = _client(settings, "lambda")
    name = PREFIX + spec.name
    with contextlib.suppress(client.exceptions.ResourceNotFoundException):
        client.delete_function(FunctionName=name)
    arn: str = client.create_function(
        FunctionName=name,
        Role=role,
        PackageType="Image",
        Code={"ImageUri": IMAGE},
        ImageConfig={"Command": [spec.handler]},
        Timeout=spec.timeout_s,
        MemorySize=spec.memory_mb,
    )["FunctionArn"]
    return arn


def _tasks(settings: Settings, role: str) -> dict[str, str]:
    ecs = _client(settings, "ecs")
    cluster = ecs.create_cluster(clusterName=CLUSTER)["cluster"]["clusterArn"]
    _capacity(ecs)
    for family in (TASK_FAMILY, MACHINE_TASK_FAMILY):
        _family(ecs, family, settings.task_image)
    for part in Scaled:  # the supervisor runs them; `ecs_services` keeps their counts
        ecs.create_service(cluster=CLUSTER, serviceName=part, taskDefinition=TASK_FAMILY, desiredCount=0)
    return {
        "TaskCluster": cluster,
        "TaskDefinition": TASK_FAMILY,
        "MachineTaskDefinition": MACHINE_TASK_FAMILY,
        "ExportTaskRole": role,
        "MachineCapacity": MACHINE_CAPACITY,
        "TaskSubnets": ",".join(SUBNETS),
        "TaskSecurityGroups": ",".join(SECURITY_GROUPS),
    }


def _capacity(ecs: "ECSClient") -> None:
    """The capacity provider, as on AWS; its only machine is this one."""
    group = f"arn:aws:autoscaling:::autoScalingGroup::autoScalingGroupName/{MACHINE_CAPACITY}"
    ecs.create_capacity_provider(
        name=MACHINE_CAPACITY,
        autoScalingGroupProvider={"autoScalingGroupArn": group, "managedScaling": {"status": "ENABLED"}},
    )
    ecs.put_cluster_capacity_providers(
        cluster=CLUSTER, capacityProviders=["FARGATE", MACHINE_CAPACITY], defaultCapacityProviderStrategy=[]
    )


def _family(ecs: "ECSClient", family: str, image: str) -> None:
    if ecs.list_task_definitions(familyPrefix=family)["taskDefinitionArns"]:
        return
    container: ContainerDefinitionTypeDef = {
        "name": CONTAINER,
        "image": image,
        "essential": True,
        "stopTimeout": TASK_STOP_TIMEOUT_S,
    }
    ecs.register_task_definition(family=family, cpu="1024", memory="2048", containerDefinitions=[container])


def _machine(sfn: "SFNClient", settings: Settings, machine: MachineSpec, definition: str, role: str) -> None:
    arn = state_machine_arn(settings, machine.name)
    if any(m["stateMachineArn"] == arn for m in sfn.list_state_machines()["stateMachines"]):
        sfn.update_state_machine(stateMachineArn=arn, definition=definition, roleArn=role)
    else:
        sfn.create_state_machine(name=machine.name, definition=definition, roleArn=role)


def _timers(settings: Settings, values: Mapping[str, str], role: str) -> None:
    """Calls by time of the functions that are deployed; the single one is set by whoever needs it."""
    events, scheduler = _client(settings, "events"), _client(settings, "scheduler")
    for timer in TIMERS:
        if (arn := values.get(f"{timer.function}Function")) is not None:
            name = resource(settings, timer.name)
            events.put_rule(Name=name, ScheduleExpression=timer.expression, State="ENABLED")
            target = {"Id": timer.function, "Arn": arn, "Input": json.dumps(timer.event)}
            events.put_targets(Rule=name, Targets=[target])
    if (arn := values.get(f"{ENSURE}Function")) is not None:
        with contextlib.suppress(scheduler.exceptions.ConflictException):
            scheduler.create_schedule(
                Name=resource(settings, NEXT_CALL),
                ScheduleExpression=at_expression(0),
                FlexibleTimeWindow={"Mode": "OFF"},
                State="DISABLED",
                Target={"Arn": arn, "RoleArn": role, "Input": "{}"},
            )


def _inbox_rule(events: "EventBridgeClient", settings: Settings, role: str) -> None:
    events.put_rule(
        Name=INBOX_RULE,
        EventPattern=json.dumps(inbox_pattern(settings.inbox_bucket, settings.inbox_prefix)),
        State="ENABLED",
    )
    target = {"Id": INBOX_MACHINE, "Arn": state_machine_arn(settings), "RoleArn": role}
    events.put_targets(Rule=INBOX_RULE, Targets=[target])  # type: ignore[list-item]  # a plain dict
