"""Long-running parts: workers, segment workers and the control plane as ECS services on Fargate; and the setup task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_ecs as ecs

from orchestration.deploy.environment import task_limits
from orchestration.deploy.stack import grants
from orchestration.deploy.stack.site import Grant, Site, create_after, role
from orchestration.deploy.stack.tasks import ECS_TASKS, Cluster, make_family
from orchestration.workflow.resources import CONTAINER, machine_specs
from segmentation.scaling import Range, Scaled

WORKER_SECRETS: Final = ("CATALOG_URL", "KAFKA_CREDENTIALS")
FEEDER_SECRETS: Final = (*WORKER_SECRETS, "WEBHOOK_SECRET")
RELAY_SECRETS: Final = (*WORKER_SECRETS, "SMTP", "WEBHOOK_SECRET")


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """The target group in which the tasks of a service register, and the port at which they listen."""

    target: Any
    port: int


def make_services(site: Site, cluster: Cluster, security_group: str) -> None:
    """Create workers, segment workers, the feeder and the control plane."""
    settings, limits = site.settings, site.settings.limits
    work = [
        *grants.write_objects(site, (settings.buckets.staging, settings.buckets.lake)),
        *grants.use_key(site),
        *grants.read_secrets(site, WORKER_SECRETS),
        *grants.use_kafka(site),
    ]
    for part, logical, service, bounds in (
        (Scaled.WORKER, "Worker", settings.workers, limits.workers),
        (Scaled.SEGMENT_WORKER, "SegmentWorker", settings.segment_workers, limits.segment_workers),
    ):
        family = make_family(
            site,
            f"{logical}Definition",
            site.names.of(part),
            [part],
            role_=role(site, f"{logical}Role", ECS_TASKS, work, f"The {part}s"),
            execution_role=cluster.execution_role,
            logs=part,
            secrets=WORKER_SECRETS,
            cpu=service.cpu,
            memory_mib=service.memory_mib,
            disk_gib=service.ephemeral_gib,
            extra=task_limits(service.cpu, service.memory_mib, service.ephemeral_gib),
            health=part,
        )
        make_service(site, f"{logical}Service", part, family, cluster, [security_group], bounds)
    relay = make_family(
        site,
        "RelayDefinition",
        site.names.of("relay"),
        ["serve", "relay"],
        role_=role(site, "RelayRole", ECS_TASKS, _relay(site), "The relay"),
        execution_role=cluster.execution_role,
        logs="relay",
        secrets=RELAY_SECRETS,
        cpu=settings.relay.cpu,
        memory_mib=settings.relay.memory_mib,
        health="relay",
    )
    feeder = make_family(
        site,
        "FeederDefinition",
        site.names.of(Scaled.FEEDER),
        ["serve", Scaled.FEEDER],
        role_=role(site, "FeederRole", ECS_TASKS, _feeder(site), "The feeder"),
        execution_role=cluster.execution_role,
        logs=Scaled.FEEDER,
        secrets=FEEDER_SECRETS,
        cpu=settings.feeder.cpu,
        memory_mib=settings.feeder.memory_mib,
        health=Scaled.FEEDER,
    )
    make_service(site, "FeederService", Scaled.FEEDER, feeder, cluster, [security_group], limits.feeders)
    make_service(site, "RelayService", Scaled.RELAY, relay, cluster, [security_group], limits.control_planes)


def _feeder(site: Site) -> list[Grant]:
    return [
        *grants.take_cuts(site),
        *grants.use_key(site),
        *grants.read_secrets(site, FEEDER_SECRETS),
        *grants.use_kafka(site, "*", transactions=True),  # feeds write to topics of others
    ]


def _relay(site: Site) -> list[Grant]:
    settings = site.settings
    buckets = settings.buckets
    machines = [machine.name for machine in machine_specs()]
    return [
        *grants.read_objects(site, (buckets.inbox,), buckets.inbox_prefix),
        # The command line runs with this role, and reads a file before it starts a job.
        *grants.read_objects(site, settings.shared.imports),
        *grants.write_objects(site, (buckets.staging, buckets.lake, *settings.shared.exports)),
        *grants.use_key(site, *settings.shared.keys),
        *grants.read_secrets(site, RELAY_SECRETS),
        *grants.use_kafka(site),
        *grants.drive_machines(site, machines),
        *grants.scale_services(site, describe=True),
    ]


def make_setup(site: Site, cluster: Cluster) -> Any:
    """The task that brings catalog and topics to what this release declares; operators start it (docs/deploy.md)."""
    buckets = site.settings.buckets
    policy = [
        Grant(
            actions=("s3:ListBucket",),
            resources=tuple(site.settings.bucket_arn(name) for name in (buckets.inbox, buckets.staging, buckets.lake)),
        ),
        *grants.read_secrets(site, WORKER_SECRETS),
        *grants.use_kafka(site, manage=True),
    ]
    return make_family(
        site,
        "SetupDefinition",
        site.names.of("setup"),
        ["serve", "setup"],
        role_=role(site, "SetupRole", ECS_TASKS, policy, "Setup task"),
        execution_role=cluster.execution_role,
        logs="setup",
        secrets=WORKER_SECRETS,
        cpu=512,
        memory_mib=1024,
        image=site.settings.setup_image,
    )


def make_service(
    site: Site,
    logical: str,
    name: str,
    family: Any,
    cluster: Cluster,
    groups: Sequence[str],
    counts: Range,
    *,
    balanced: Balanced | None = None,
) -> Any:
    """A service on Fargate in the private subnets; none of its tasks run before the setup.

    A count that follows the work is not in the template: CloudFormation then leaves it as it is. It would start one
    task of a service that it creates, which is therefore created with none, as `Run` is `no` at first.
    """
    count = counts.most if counts.fixed else cdk.Aws.NO_VALUE
    service = ecs.CfnService
    created = service(
        site.stack,
        logical,
        service_name=name,
        cluster=cluster.arn,
        task_definition=family.ref,
        launch_type="FARGATE",
        desired_count=cdk.Token.as_number(cdk.Fn.condition_if(site.running, count, 0)),
        deployment_configuration=service.DeploymentConfigurationProperty(
            # New ones start before old ones stop, and take over their partitions.
            maximum_percent=200,
            minimum_healthy_percent=100,
            deployment_circuit_breaker=service.DeploymentCircuitBreakerProperty(enable=True, rollback=True),
        ),
        network_configuration=service.NetworkConfigurationProperty(
            awsvpc_configuration=service.AwsVpcConfigurationProperty(
                subnets=list(site.settings.network.subnets), security_groups=list(groups), assign_public_ip="DISABLED"
            )
        ),
        load_balancers=None
        if balanced is None
        else [
            service.LoadBalancerProperty(
                container_name=CONTAINER, container_port=balanced.port, target_group_arn=balanced.target.ref
            )
        ],
        propagate_tags="SERVICE",
        enable_ecs_managed_tags=True,
    )
    return create_after(created, *cluster.families)
