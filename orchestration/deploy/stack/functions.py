"""The Lambda functions of `functions.toml`, all from one image, each group with a role for its needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aws_cdk import aws_lambda as lambda_

from orchestration.deploy.environment import FUNCTION_HOME, environment, function_limits
from orchestration.deploy.stack import grants
from orchestration.deploy.stack.logs import log_group
from orchestration.deploy.stack.site import Grant, Service, Site, create_after, role
from orchestration.platform.sizes import FUNCTION_DISK_MIB, function_disk_mib
from orchestration.workflow.engine import EXPORT_MACHINE
from orchestration.workflow.resources import (
    INBOX_MACHINE,
    FunctionSpec,
    function_specs,
    machine_specs,
    share_of,
)
from schemas.errors import FatalError
from schemas.layout import UPLOADS_PREFIX

LARGE_MB: Final = 2048
"""Functions with this much memory work on files, and get the disk for it."""
CATALOG: Final = "CATALOG_URL"
KAFKA: Final = "KAFKA_CREDENTIALS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Functions with the same needs; they share a role and its secrets."""

    name: str
    functions: tuple[str, ...]
    secrets: tuple[str, ...]


GROUPS: Final = (
    Group(name="Register", functions=("RegisterImport", "RegisterExport"), secrets=(CATALOG,)),
    Group(
        name="Record",
        functions=(
            "ReadOutcome",
            "RetryImport",
            "Notify",
            "ExtractCause",
            "MarkFailed",
            "FailExportGroup",
            "NotifyExport",
            "MarkExportFailed",
        ),
        secrets=(CATALOG,),
    ),
    Group(name="Await", functions=("BeginAwait",), secrets=(CATALOG,)),
    Group(name="Ensure", functions=("EnsureWorkers", "WatchWorkers"), secrets=(CATALOG, KAFKA)),
    Group(
        name="Files",
        functions=(
            "VerifyFile",
            "PlanUnits",
            "VerifyUnit",
            "FailUnit",
            "GatherEvidence",
            "ImportToKafka",
            "BeginAttempt",
            "SendUnit",
            "EndAttempt",
        ),
        secrets=(CATALOG, KAFKA),
    ),
    Group(
        name="Versions",
        functions=("PlanParts", "BuildVersion", "BuildPart", "GatherParts", "CheckPart", "PublishVersion"),
        secrets=(CATALOG, KAFKA),
    ),
    Group(
        name="Exports",
        functions=("PlanExport", "WriteExportGroup", "FinishExport"),
        secrets=(CATALOG, KAFKA),
    ),
)


def group_of(function: str) -> Group:
    """The group of a function. Raises `FatalError` BAD_WORKFLOW for one without a group: it would have no role."""
    for group in GROUPS:
        if function in group.functions:
            return group
    raise FatalError("BAD_WORKFLOW", f"function {function} belongs to no role group", function=function)


def group_grants(site: Site, name: str) -> tuple[Grant, ...]:
    """Permissions of a group's code, without logs, secrets and the VPC."""
    s = site.settings
    buckets = s.buckets
    inbox = grants.read_objects(site, (buckets.inbox,), buckets.inbox_prefix)
    match name:
        case "Register":
            own = (
                *grants.read_objects(site, (buckets.inbox,), buckets.inbox_prefix, versions=True),
                *grants.read_objects(site, (buckets.staging,), UPLOADS_PREFIX, versions=True),
                *grants.read_objects(site, s.shared.imports, versions=True),
                *grants.read_objects(site, (buckets.lake,)),
                grants.write_units(site),
                *grants.scale_services(site),
            )
        case "Ensure":
            machines = (machine.name for machine in machine_specs())
            return (*grants.scale_services(site, describe=True), *grants.list_executions(site, machines))
        case "Await":
            # What has ended before the wait begins is answered at once.
            waiting = tuple(grants.machine_arn(site, machine) for machine in (INBOX_MACHINE, EXPORT_MACHINE))
            own = (Grant(actions=("states:SendTaskSuccess",), resources=waiting),)
        case "Files":
            own = (
                *inbox,
                *grants.read_objects(site, s.shared.imports),
                *grants.write_objects(site, (buckets.staging, buckets.lake)),
            )
        case "Versions":
            own = grants.write_objects(site, (buckets.staging, buckets.lake))
        case "Exports":
            return grants.export(site)
        case _:
            return ()
    if name == "Await":
        return own
    # Builders and publishers use only the deployment's own buckets.
    return (*own, *grants.use_key(site, *(() if name == "Versions" else s.shared.keys)))


def make_functions(site: Site, security_group: str) -> Mapping[str, Any]:
    """Create every function; returns them by name."""
    specs = function_specs()
    created: dict[str, Any] = {}
    for group in GROUPS:
        own = [spec for spec in specs if spec.name in group.functions]
        logs = {spec.name: _logs(site, spec) for spec in own}
        policy = [
            *group_grants(site, group.name),
            *grants.read_secrets(site, group.secrets),
            *(grants.use_kafka(site, *(["*"] if group.name == "Exports" else [])) if KAFKA in group.secrets else ()),
            *(grant for spec in own for grant in grants.write_log(site, site.names.function_logs(spec.name))),
            *grants.function_in_vpc(site, [site.names.of(spec.name) for spec in own]),
            *grants.trace(site),
        ]
        group_role = function_role(site, f"{group.name}FunctionRole", policy, f"Functions {', '.join(group.functions)}")
        for spec in own:
            values = environment(site.settings, group.secrets, home=FUNCTION_HOME)
            if spec.memory_mb >= LARGE_MB:
                values |= function_limits(site.settings, spec.memory_mb)
            created[spec.name] = make_function(site, spec, group_role, security_group, values, logs[spec.name])
    for spec in specs:
        group_of(spec.name)
    return created


def _logs(site: Site, spec: FunctionSpec) -> Any:
    return log_group(site, f"{spec.name}FunctionLogs", site.names.function_logs(spec.name))


def function_role(site: Site, logical: str, policy: Sequence[Grant], description: str) -> Any:
    """A role that Lambda may assume."""
    return role(site, logical, Service(principal="lambda.amazonaws.com", purpose_tag=False), policy, description)


def make_function(
    site: Site, spec: FunctionSpec, function_role: Any, security_group: str, values: Mapping[str, str], logs: Any
) -> Any:
    """One function from the image. Its log group is created first, or Lambda would create one without an expiry."""
    function = lambda_.CfnFunction(
        site.stack,
        f"{spec.name}Function",
        function_name=site.names.of(spec.name),
        description=f"{spec.handler} of Muster",
        package_type="Image",
        code=lambda_.CfnFunction.CodeProperty(image_uri=site.settings.image),
        # The entry point is the image's own; these are its arguments.
        image_config=lambda_.CfnFunction.ImageConfigProperty(command=["lambda", spec.handler]),
        architectures=[site.settings.architecture],
        role=function_role.attr_arn,
        timeout=spec.timeout_s,
        reserved_concurrent_executions=(
            None if spec.share is None else share_of(site.settings.function_calls, spec.share)
        ),
        memory_size=spec.memory_mb,
        ephemeral_storage=lambda_.CfnFunction.EphemeralStorageProperty(
            size=function_disk_mib(site.settings.jobs.lambda_file_bytes)
            if spec.memory_mb >= LARGE_MB
            else FUNCTION_DISK_MIB
        ),
        environment=lambda_.CfnFunction.EnvironmentProperty(variables=dict(values)),
        vpc_config=lambda_.CfnFunction.VpcConfigProperty(
            subnet_ids=list(site.settings.network.subnets), security_group_ids=[security_group]
        ),
        tracing_config=lambda_.CfnFunction.TracingConfigProperty(
            # A trace of each minute would cost more than the calls.
            mode="Active" if site.settings.logs.tracing and spec.name != "WatchWorkers" else "PassThrough"
        ),
    )
    return create_after(function, logs)
