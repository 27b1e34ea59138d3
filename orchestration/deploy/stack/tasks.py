"""The ECS cluster and the two families of tasks: on Fargate, and on machines for work too large for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aws_cdk import aws_ecs as ecs

from orchestration.deploy.environment import CONTAINER_HOME, environment, task_limits
from orchestration.deploy.stack import grants
from orchestration.deploy.stack.logs import log_group
from orchestration.deploy.stack.site import Grant, Service, Site, acknowledge, create_after, role
from orchestration.workflow.resources import CONTAINER, TASK_STOP_TIMEOUT_S

USER: Final = "10001"
"""The image's own user, without privileges."""
VOLUMES: Final = {"home": CONTAINER_HOME, "tmp": "/tmp"}  # noqa: S108  # of the container alone
"""The only writable paths; owner and mode come from the image, which declares both."""
ROOT_GIB: Final = 20
"""Part of a machine's disk for its system and the image."""
FREE_GIB: Final = 20
"""The default of every Fargate task; only more must be requested."""
ECS_TASKS: Final = Service(principal="ecs-tasks.amazonaws.com")
TASK_SECRETS: Final = ("CATALOG_URL", "KAFKA_CREDENTIALS")
HEALTH_PERIOD_S: Final = 30
_PLAIN: Final = "names and sizes, no secrets: secrets are read by their ARNs when the container starts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What state machines and services need to know about it."""

    resource: Any
    execution_role: Any
    families: tuple[Any, ...] = ()
    roles: tuple[str, ...] = ()
    """ARNs of the roles that a caller needs to pass to run tasks of the families."""
    export_role_arn: str = ""
    """ARN of the role that replaces the family's role for exports."""
    relay_logs: Any = None

    @property
    def arn(self) -> str:
        """ARN of the cluster."""
        return str(self.resource.attr_arn)


def make_cluster(site: Site) -> Cluster:
    """Create the cluster and the families of tasks."""
    settings, names = site.settings, site.names
    insights = settings.logs.container_insights
    cluster = ecs.CfnCluster(
        site.stack,
        "Cluster",
        cluster_name=names.cluster,
        cluster_settings=[
            ecs.CfnCluster.ClusterSettingsProperty(
                name="containerInsights", value="enabled" if insights else "disabled"
            )
        ],
    )
    if not insights:
        acknowledge(cluster, "ECS4", "logs.container_insights is off in the settings: its metrics cost while idle")
    parts = ("tasks", "setup", "worker", "segment-worker", "relay", "feeder", *(["api"] if settings.api.host else []))
    logs = {part: _logs(site, part) for part in parts}
    execution_role = _execution_role(site)
    task_role = role(site, "TaskRole", ECS_TASKS, task_grants(site), "Tasks of imports")
    export_grants = [
        *grants.export(site),
        *grants.read_secrets(site, TASK_SECRETS),
        *grants.use_kafka(site, "*"),  # exports write to topics of others
    ]
    export_role = role(site, "ExportTaskRole", ECS_TASKS, export_grants, "Tasks of exports")
    tasks, machines = settings.tasks, settings.machines
    family = make_family(
        site,
        "TaskDefinition",
        names.task_family,
        ["task"],
        role_=task_role,
        execution_role=execution_role,
        logs="tasks",
        secrets=TASK_SECRETS,
        cpu=tasks.cpu,
        memory_mib=tasks.memory_mib,
        disk_gib=tasks.ephemeral_gib,
        extra=task_limits(tasks.cpu, tasks.memory_mib, tasks.ephemeral_gib),
    )
    machine_family = make_family(
        site,
        "MachineTaskDefinition",
        names.machine_task_family,
        ["task"],
        role_=task_role,
        execution_role=execution_role,
        logs="tasks",
        secrets=TASK_SECRETS,
        cpu=machines.cpu,
        memory_mib=machines.memory_mib,
        fargate=False,
        extra=task_limits(machines.cpu, machines.memory_mib, machines.disk_gib - ROOT_GIB),
    )
    for task_definition in (family, machine_family):
        create_after(task_definition, *logs.values())
    return Cluster(
        resource=cluster,
        execution_role=execution_role,
        families=(family, machine_family),
        roles=(task_role.attr_arn, execution_role.attr_arn),
        export_role_arn=export_role.attr_arn,
        relay_logs=logs["relay"],
    )


def _logs(site: Site, part: str) -> Any:
    logical = "".join(word.capitalize() for word in part.split("-")) + "Logs"
    return log_group(site, logical, site.names.container_logs(part))


def _repository(site: Site, image: str) -> str:
    account, name = image.split(".", maxsplit=1)[0], image.partition("/")[2].partition("@")[0]
    return f"arn:{site.settings.partition}:ecr:{site.settings.region}:{account}:repository/{name}"


def _execution_role(site: Site) -> Any:
    images = (site.settings.image, site.settings.setup_image)
    policy = [
        Grant(actions=("ecr:GetAuthorizationToken",), resources=("*",), reason=grants.NO_RESOURCE_TYPE),
        Grant(
            actions=("ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"),
            resources=tuple(sorted({_repository(site, image) for image in images if image})),
        ),
        *grants.write_log(site, site.names.container_logs("*")),
    ]
    return role(site, "ExecutionRole", ECS_TASKS, policy, "ECS itself: fetches the image, opens the log")


def task_grants(site: Site) -> list[Grant]:
    """Permissions of the import steps that work on files."""
    settings = site.settings
    buckets = settings.buckets
    return [
        *grants.read_objects(site, (buckets.inbox,), buckets.inbox_prefix),
        *grants.read_objects(site, settings.shared.imports),
        *grants.write_objects(site, (buckets.staging, buckets.lake)),
        *grants.use_key(site, *settings.shared.keys),
        *grants.read_secrets(site, TASK_SECRETS),
        *grants.use_kafka(site),
    ]


def make_family(
    site: Site,
    logical: str,
    family: str,
    command: Sequence[str],
    *,
    role_: Any,
    execution_role: Any,
    logs: str,
    secrets: Sequence[str],
    cpu: int,
    memory_mib: int,
    disk_gib: int = FREE_GIB,
    fargate: bool = True,
    health: str = "",
    image: str = "",
    port: int | None = None,
    extra: Mapping[str, str] | None = None,
) -> Any:
    """One family of tasks with one container of the image. `health`: the part that `health PART` checks."""
    values = {
        **environment(site.settings, secrets),
        **(extra or {}),
    }
    definition = ecs.CfnTaskDefinition
    container = definition.ContainerDefinitionProperty(
        name=CONTAINER,
        image=image or site.settings.image,
        essential=True,
        command=list(command),
        user=USER,
        readonly_root_filesystem=True,
        stop_timeout=TASK_STOP_TIMEOUT_S,
        linux_parameters=definition.LinuxParametersProperty(
            init_process_enabled=True, capabilities=definition.KernelCapabilitiesProperty(drop=["ALL"])
        ),
        environment=[definition.KeyValuePairProperty(name=name, value=value) for name, value in values.items()],
        mount_points=[
            definition.MountPointProperty(source_volume=volume, container_path=path, read_only=False)
            for volume, path in VOLUMES.items()
        ],
        health_check=definition.HealthCheckProperty(
            command=["CMD", "python", "-m", "orchestration.entrypoints.container", "health", health],
            interval=HEALTH_PERIOD_S,
            timeout=20,
            retries=8,
            start_period=120,
        )
        if health
        else None,
        port_mappings=None if port is None else [definition.PortMappingProperty(container_port=port)],
        log_configuration=definition.LogConfigurationProperty(
            log_driver="awslogs",
            options={
                "awslogs-group": site.names.container_logs(logs),
                "awslogs-region": site.settings.region,
                "awslogs-stream-prefix": family,
            },
        ),
    )
    created = definition(
        site.stack,
        logical,
        family=family,
        cpu=str(cpu),
        memory=str(memory_mib),
        network_mode="awsvpc",
        requires_compatibilities=["FARGATE" if fargate else "EC2"],
        execution_role_arn=execution_role.attr_arn,
        task_role_arn=role_.attr_arn,
        container_definitions=[container],
        volumes=[definition.VolumeProperty(name=volume) for volume in VOLUMES],
        ephemeral_storage=definition.EphemeralStorageProperty(size_in_gib=disk_gib)
        if fargate and disk_gib > FREE_GIB
        else None,
        runtime_platform=definition.RuntimePlatformProperty(
            cpu_architecture=site.settings.architecture.upper(), operating_system_family="LINUX"
        ),
    )
    acknowledge(created, "ECS2", _PLAIN)
    return created
