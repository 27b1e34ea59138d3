"""The whole stack, part by part, in the order of their references."""

from typing import Any, Final

import aws_cdk as cdk

from orchestration.deploy.names import names_of
from orchestration.deploy.settings import DeploySettings
from orchestration.deploy.stack.alarms import make_alarms
from orchestration.deploy.stack.api import make_api
from orchestration.deploy.stack.capacity import make_capacity
from orchestration.deploy.stack.events import make_job_events
from orchestration.deploy.stack.functions import make_functions
from orchestration.deploy.stack.machines import make_machines, make_rule
from orchestration.deploy.stack.network import make_network
from orchestration.deploy.stack.services import make_services, make_setup
from orchestration.deploy.stack.site import Site
from orchestration.deploy.stack.storage import make_buckets, make_key
from orchestration.deploy.stack.tasks import make_cluster
from orchestration.deploy.stack.timers import make_timers
from orchestration.workflow.resources import INBOX_MACHINE

RUN: Final = "Run"
"""Parameter of the stack: whether services and events are active. `no` at first, and during a release's setup."""


def build_stack(app: Any, settings: DeploySettings) -> Any:
    """The stack of a deployment, in a CDK app. It needs no assets, and therefore no bootstrapped account."""
    stack = cdk.Stack(
        app,
        settings.name,
        description=f"Muster: audiences between S3 and Kafka ({settings.name})",
        env=cdk.Environment(account=settings.account, region=settings.region),
        synthesizer=cdk.LegacyStackSynthesizer(),
    )
    cdk.Tags.of(stack).add("muster", settings.name)
    parameter = cdk.CfnParameter(
        stack,
        RUN,
        type="String",
        allowed_values=["yes", "no"],
        default="no",
        description="Whether services run and events start imports; keep at no until the setup task has ended",
    )
    running = cdk.CfnCondition(stack, "Running", expression=cdk.Fn.condition_equals(parameter.value_as_string, "yes"))
    site = Site(
        stack=stack,
        settings=settings,
        names=names_of(settings),
        key=make_key(stack, settings),
        running=running.logical_id,
    )
    _build_parts(site)
    return stack


def _build_parts(site: Site) -> None:
    make_buckets(site)
    group = make_network(site)
    cluster = make_cluster(site)
    make_capacity(site, cluster, group)
    functions = make_functions(site, group)
    machines = make_machines(site, functions, cluster, group)
    inbox_queue = make_rule(site, machines[INBOX_MACHINE])
    make_timers(site, functions)
    job_events = make_job_events(site, group)
    make_setup(site, cluster)
    make_services(site, cluster, group)
    balancer = make_api(site, cluster, group)
    queues = {"InboxDeadLetters": inbox_queue, "JobEventsDeadLetters": job_events.queue}
    operators = make_alarms(site, machines, cluster.relay_logs, queues, balancer)
    subnets = ",".join(site.settings.network.subnets)
    network_configuration = (
        f"awsvpcConfiguration={{subnets=[{subnets}],securityGroups=[{group}],assignPublicIp=DISABLED}}"
    )
    run_setup = (
        f"aws ecs run-task --region {site.settings.region} --cluster {site.names.cluster} --launch-type FARGATE "
        f"--task-definition {site.names.of('setup')} --network-configuration '{network_configuration}'"
    )
    for name, value, description in (
        ("SetupCommand", run_setup, "Upgrades catalog and topics to this release; run it before Run=yes"),
        ("ImportMachine", machines[INBOX_MACHINE].attr_arn, "State machine of imports"),
        ("JobEventsTopicArn", job_events.topic.ref, "Topic to subscribe to for job events"),
        ("OperatorsTopicArn", operators.ref, "Topic that receives alarms"),
        (
            "Inbox",
            f"s3://{site.settings.buckets.inbox}/{site.settings.buckets.inbox_prefix}",
            "Location of the inbox; put files under TENANT/AUDIENCE/",
        ),
    ):
        cdk.CfnOutput(site.stack, name, value=value, description=description)
