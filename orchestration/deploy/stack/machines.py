"""The state machines, from the same files that the local engine runs, and the rule that starts an import."""

from collections.abc import Mapping
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_stepfunctions as sfn

from orchestration.deploy.stack import grants
from orchestration.deploy.stack.logs import log_group, metric_filter
from orchestration.deploy.stack.queues import make_queue
from orchestration.deploy.stack.site import Grant, Service, Site, acknowledge, create_after, role
from orchestration.deploy.stack.tasks import Cluster
from orchestration.workflow.resources import INBOX_MACHINE, SUBSTITUTION, MachineSpec, inbox_pattern, machine_specs
from schemas.layout import IMPORTS_PREFIX

SYNC_RULE: Final = "rule/StepFunctionsGetEventsForECSTaskRule"
"""Tells Step Functions that a task has ended (`ecs:runTask.sync`); Step Functions creates this rule itself."""
FAILURES: Final = '{ $.type = "ExecutionFailed" && $.details.error != "UserError" && $.details.error != "Cancelled" }'
"""System failures only: neither a customer's bad file nor a cancelled job."""
THROTTLED: Final = '{ $.details.error = "Lambda.TooManyRequestsException" }'
"""Calls of functions that Lambda has refused; their states try again."""
ARCHIVE_DAYS: Final = 14
START_TRIES: Final = 185
START_AGE_S: Final = 86_400
"""EventBridge's maximum: a day, with back-off."""


def make_machines(site: Site, functions: Mapping[str, Any], cluster: Cluster, security_group: str) -> Mapping[str, Any]:
    """Create every state machine; returns them by name."""
    names, settings = site.names, site.settings
    values: dict[str, str] = {f"{name}Function": function.attr_arn for name, function in functions.items()}
    values |= {
        "TaskCluster": cluster.arn,
        "TaskDefinition": names.task_family,
        "MachineTaskDefinition": names.machine_task_family,
        "ExportTaskRole": cluster.export_role_arn,
        "MachineCapacity": names.capacity,
        "TaskSubnets": ",".join(settings.network.subnets),
        "TaskSecurityGroups": security_group,
    }
    return {machine.name: _machine(site, machine, values, functions, cluster) for machine in machine_specs()}


def _machine(
    site: Site, machine: MachineSpec, values: Mapping[str, str], functions: Mapping[str, Any], cluster: Cluster
) -> Any:
    used = set(SUBSTITUTION.findall(machine.definition))
    invoked = [function.attr_arn for name, function in functions.items() if f"{name}Function" in used]
    logs = log_group(site, f"{machine.name}Logs", site.names.machine_logs(machine.name))
    passed_roles = (*cluster.roles, *([cluster.export_role_arn] if "ExportTaskRole" in used else []))
    policy = [
        Grant(actions=("lambda:InvokeFunction",), resources=tuple(invoked)),
        *_run_tasks(site, cluster, passed_roles),
    ]
    policy += [
        _deliver_logs(),
        *grants.trace(site),
        *(_spread(site, machine) if "DISTRIBUTED" in machine.definition else ()),
    ]
    machine_role = role(
        site,
        f"{machine.name}Role",
        Service(principal="states.amazonaws.com"),
        policy,
        f"State machine {machine.name}",
    )
    created = sfn.CfnStateMachine(
        site.stack,
        machine.name,
        state_machine_name=site.names.of(machine.name),
        state_machine_type="STANDARD",
        definition_string=machine.definition,
        definition_substitutions={name: values[name] for name in sorted(used)},
        role_arn=machine_role.attr_arn,
        logging_configuration=sfn.CfnStateMachine.LoggingConfigurationProperty(
            level="ALL",
            include_execution_data=True,
            destinations=[
                sfn.CfnStateMachine.LogDestinationProperty(
                    cloud_watch_logs_log_group=sfn.CfnStateMachine.CloudWatchLogsLogGroupProperty(
                        log_group_arn=logs.attr_arn
                    )
                )
            ],
        ),
        tracing_configuration=sfn.CfnStateMachine.TracingConfigurationProperty(enabled=site.settings.logs.tracing),
    )
    if not site.settings.logs.tracing:
        acknowledge(created, "SF2", "logs.tracing is off in the settings")
    metric_filter(site, f"{machine.name}Failures", logs, pattern=FAILURES, metric=f"{machine.name}Failures", value="1")
    metric_filter(
        site, f"{machine.name}Throttles", logs, pattern=THROTTLED, metric=f"{machine.name}Throttles", value="1"
    )
    return create_after(created, *cluster.families)


def _run_tasks(site: Site, cluster: Cluster, roles: tuple[str, ...]) -> list[Grant]:
    settings, names = site.settings, site.names
    in_cluster = {"ArnEquals": {"ecs:cluster": cluster.arn}}
    return [
        Grant(
            actions=("ecs:RunTask",),
            resources=tuple(
                settings.arn("ecs", f"task-definition/{family}:*")
                for family in (names.task_family, names.machine_task_family)
            ),
            condition=in_cluster,
            reason="the newest revision of a family runs: an upgrade creates another",
        ),
        Grant(
            actions=("ecs:StopTask", "ecs:DescribeTasks"),
            resources=(settings.arn("ecs", f"task/{names.cluster}/*"),),
            condition=in_cluster,
            reason="tasks get their names when they run",
        ),
        Grant(
            actions=("iam:PassRole",),
            resources=roles,
            condition={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        ),
        Grant(
            actions=("events:PutTargets", "events:PutRule", "events:DescribeRule"),
            resources=(settings.arn("events", SYNC_RULE),),
        ),
    ]


def _spread(site: Site, machine: MachineSpec) -> tuple[Grant, ...]:
    """What a Distributed Map needs: to read its items, and to run them as executions of its own machine."""
    executions = (f"execution:{site.names.of(machine.name)}:*", f"execution:{site.names.of(machine.name)}/*")
    return (
        Grant(
            actions=("s3:GetObject",),
            resources=(
                site.settings.bucket_arn(site.settings.buckets.staging, f"{IMPORTS_PREFIX}*/units/*items*.json"),
            ),
            reason=grants.OBJECTS,
        ),
        Grant(actions=("states:StartExecution",), resources=(grants.machine_arn(site, machine.name),)),
        Grant(
            actions=("states:DescribeExecution", "states:StopExecution"),
            resources=tuple(site.settings.arn("states", execution) for execution in executions),
            reason="children get their names when they run",
        ),
        *grants.use_key(site),
    )


def _deliver_logs() -> Grant:
    actions = (
        "logs:CreateLogDelivery",
        "logs:GetLogDelivery",
        "logs:UpdateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:DescribeResourcePolicies",
        "logs:DescribeLogGroups",
    )
    return Grant(actions=actions, resources=("*",), reason=grants.NO_RESOURCE_TYPE)


def make_rule(site: Site, machine: Any) -> Any:
    """Objects in the inbox start imports; events that fail to do so for a day go to a queue. Returns the queue."""
    buckets = site.settings.buckets
    queue = make_queue(
        site,
        "InboxDeadLetters",
        {
            "Sid": "Rule",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Condition": {"ArnEquals": {"aws:SourceArn": site.settings.arn("events", f"rule/{site.names.rule}")}},
        },
    )
    rule_role = role(
        site,
        "InboxRuleRole",
        Service(principal="events.amazonaws.com"),
        [Grant(actions=("states:StartExecution",), resources=(machine.attr_arn,))],
        "Rule that starts imports",
    )
    pattern = inbox_pattern(buckets.inbox, buckets.inbox_prefix)
    # Events from while the rule was off can be replayed: registration recognises those it has seen.
    events.CfnArchive(
        site.stack,
        "InboxArchive",
        source_arn=site.settings.arn("events", "event-bus/default"),
        description="Objects created in the inbox",
        event_pattern=pattern,
        retention_days=ARCHIVE_DAYS,
    )
    events.CfnRule(
        site.stack,
        "InboxRule",
        name=site.names.rule,
        description="An object was created in the inbox",
        event_pattern=pattern,
        state=cdk.Fn.condition_if(site.running, "ENABLED", "DISABLED").to_string(),
        targets=[
            events.CfnRule.TargetProperty(
                id=INBOX_MACHINE,
                arn=machine.attr_arn,
                role_arn=rule_role.attr_arn,
                dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=queue.attr_arn),
                retry_policy=events.CfnRule.RetryPolicyProperty(
                    maximum_retry_attempts=START_TRIES, maximum_event_age_in_seconds=START_AGE_S
                ),
            )
        ],
    )
    return queue
