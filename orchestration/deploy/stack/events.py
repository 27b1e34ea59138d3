"""Job events from Kafka to subscribers: mapping -> function -> topic; permanent failures go to a queue."""

from dataclasses import dataclass
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

from orchestration.deploy.environment import FUNCTION_HOME, environment
from orchestration.deploy.names import JOB_EVENTS_GROUP
from orchestration.deploy.stack import grants
from orchestration.deploy.stack.functions import function_role, make_function
from orchestration.deploy.stack.logs import log_group
from orchestration.deploy.stack.queues import make_queue, make_topic
from orchestration.deploy.stack.site import Grant, Site
from orchestration.platform.settings import ENV_PREFIX
from orchestration.workflow.resources import EVENT_FUNCTION
from schemas.topics import JOB_EVENTS

LOGONS: Final = {
    "SCRAM-SHA-512": "SASL_SCRAM_512_AUTH",
    "SCRAM-SHA-256": "SASL_SCRAM_256_AUTH",
    "PLAIN": "BASIC_AUTH",
}
BATCH: Final = 100
WINDOW_S: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvents:
    """The topic that receives job events, and the queue for those that failed."""

    topic: Any
    queue: Any


def make_job_events(site: Site, security_group: str) -> JobEvents:
    """Create topic, queue, function and mapping."""
    kafka = site.settings.kafka
    topic = make_topic(site, "JobEventsTopic", f"{site.names.deployment} job events")
    queue = make_queue(site, "JobEventsDeadLetters")
    name = site.names.of(EVENT_FUNCTION.name)
    logs = log_group(site, f"{EVENT_FUNCTION.name}FunctionLogs", site.names.function_logs(EVENT_FUNCTION.name))
    policy = [
        Grant(actions=("sns:Publish",), resources=(topic.ref,)),
        Grant(actions=("sqs:SendMessage",), resources=(queue.attr_arn,)),
        *grants.use_key(site),
        *grants.read_secrets(site, ("KAFKA_CREDENTIALS",)),
        *grants.write_log(site, site.names.function_logs(EVENT_FUNCTION.name)),
        *grants.trace(site),
        *_poll(site, name),
    ]
    values = environment(site.settings, (), home=FUNCTION_HOME) | {f"{ENV_PREFIX}JOB_EVENTS_TOPIC": topic.ref}
    function = make_function(
        site,
        EVENT_FUNCTION,
        function_role(
            site, f"{EVENT_FUNCTION.name}FunctionRole", policy, "Job events to SNS, and the mapping's pollers"
        ),
        security_group,
        values,
        logs,
    )
    mapping = lambda_.CfnEventSourceMapping
    access = (
        [mapping.SourceAccessConfigurationProperty(type=LOGONS[kafka.mechanism], uri=kafka.secret)]
        if kafka.secret
        else []
    )
    shared: dict[str, Any] = {
        "function_name": function.ref,
        "topics": [JOB_EVENTS],
        "starting_position": "TRIM_HORIZON",
        "batch_size": BATCH,
        "maximum_batching_window_in_seconds": WINDOW_S,
        "enabled": cdk.Fn.condition_if(site.running, True, False),  # noqa: FBT003  # CloudFormation's own function
        "destination_config": mapping.DestinationConfigProperty(
            on_failure=mapping.OnFailureProperty(destination=queue.attr_arn)
        ),
    }
    if kafka.cluster:
        mapping(
            site.stack,
            "JobEventsMapping",
            event_source_arn=kafka.cluster,
            source_access_configurations=access or None,
            amazon_managed_kafka_event_source_config=mapping.AmazonManagedKafkaEventSourceConfigProperty(
                consumer_group_id=JOB_EVENTS_GROUP
            ),
            **shared,
        )
    else:
        if kafka.ca_secret:
            access.append(
                mapping.SourceAccessConfigurationProperty(type="SERVER_ROOT_CA_CERTIFICATE", uri=kafka.ca_secret)
            )
        access += [
            mapping.SourceAccessConfigurationProperty(type="VPC_SUBNET", uri=f"subnet:{subnet}")
            for subnet in site.settings.network.subnets
        ]
        access.append(
            mapping.SourceAccessConfigurationProperty(type="VPC_SECURITY_GROUP", uri=f"security_group:{security_group}")
        )
        mapping(
            site.stack,
            "JobEventsMapping",
            self_managed_event_source=mapping.SelfManagedEventSourceProperty(
                endpoints=mapping.EndpointsProperty(kafka_bootstrap_servers=kafka.bootstrap.split(","))
            ),
            self_managed_kafka_event_source_config=mapping.SelfManagedKafkaEventSourceConfigProperty(
                consumer_group_id=JOB_EVENTS_GROUP
            ),
            source_access_configurations=access,
            **shared,
        )
    return JobEvents(topic=topic, queue=queue)


def _poll(site: Site, function: str) -> list[Grant]:
    """The mapping polls with the function's role: it reads the VPC, and the cluster if that is MSK."""
    describe = Grant(
        actions=("ec2:DescribeVpcs", "ec2:DescribeSecurityGroups"), resources=("*",), reason=grants.NO_RESOURCE_TYPE
    )
    found = [describe, grants.function_in_vpc(site, (function,))[0]]
    if cluster := site.settings.kafka.cluster:
        actions = ("kafka:DescribeCluster", "kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers")
        # With SCRAM, Lambda checks that the secret is associated with the cluster.
        scram = ("kafka:ListScramSecrets",) if site.settings.kafka.secret else ()
        found.append(Grant(actions=(*actions, *scram), resources=(cluster,)))
    found += grants.use_kafka(site, write=False)
    return found
