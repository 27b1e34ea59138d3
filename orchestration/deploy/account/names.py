"""Names that are taken, buckets that must be there, and what an account has only after its first use of a service."""

from collections.abc import Iterator
from typing import Any, Final

from orchestration.deploy.account.asking import AbsentError, AccountFinding, Clients, asking, note, ok, wrong
from orchestration.deploy.names import names_of
from orchestration.deploy.settings import DeploySettings
from orchestration.workflow.resources import function_specs, machine_specs

LINKED_ROLES: Final = {
    "AWSServiceRoleForECS": "ecs.amazonaws.com",
    "AWSServiceRoleForAutoScaling": "autoscaling.amazonaws.com",
}
GONE: Final = ("404", "NoSuchBucket", "NotFound")


def check_stack(settings: DeploySettings, clients: Clients) -> Iterator[AccountFinding]:
    """The stack, if there is one; else the names that it would take."""
    cloudformation = clients("cloudformation")
    try:
        with asking("ValidationError"):  # there is no stack of this name
            (stack,) = cloudformation.describe_stacks(StackName=settings.name)["Stacks"]
    except AbsentError:
        yield ok("name", "no stack has it: the first deployment creates one")
        yield from _taken_names(settings, clients)
        yield from _new_buckets(settings, clients("s3"))
    else:
        status = str(stack["StackStatus"])
        if status == "ROLLBACK_COMPLETE":
            yield wrong(
                "name",
                "the first deployment of this stack failed, and it cannot be updated",
                f"aws cloudformation delete-stack --stack-name {settings.name}",
            )
        elif status.endswith(("_IN_PROGRESS", "_FAILED")):
            yield wrong("name", f"the stack is {status}", "wait, or heal it, before you deploy")
        else:
            yield ok("name", f"the stack is {status}; `muster deploy diff --deployed` shows what would change")
    yield ok("bootstrap of the CDK", "is not needed: the template has no assets")


def _taken_names(settings: DeploySettings, clients: Clients) -> Iterator[AccountFinding]:
    names = names_of(settings)
    taken = []
    logs = clients("logs")
    for prefix in (names.container_logs(""), names.function_logs("").removesuffix("-"), names.machine_logs("")):
        with asking():
            found = logs.describe_log_groups(logGroupNamePrefix=prefix, limit=50)["logGroups"]
        own = {names.function_logs(one.name) for one in function_specs()}
        own |= {names.machine_logs(one.name) for one in machine_specs()}
        own |= {
            names.container_logs(p) for p in ("tasks", "setup", "worker", "segment-worker", "relay", "feeder", "api")
        }
        taken += [f"log group {one['logGroupName']}" for one in found if one["logGroupName"] in own]
    with asking():
        clusters = clients("ecs").describe_clusters(clusters=[names.cluster])["clusters"]
    taken += [f"cluster {one['clusterName']}" for one in clusters if one["status"] == "ACTIVE"]
    with asking():
        pages = clients("stepfunctions").get_paginator("list_state_machines").paginate()
        machines = {one["name"] for page in pages for one in page["stateMachines"]}
    taken += [f"state machine {name}" for one in machine_specs() if (name := names.of(one.name)) in machines]
    with asking():
        rules = clients("events").list_rules(NamePrefix=names.of(""))["Rules"]
    taken += [f"rule {one['Name']}" for one in rules if one["Name"] in names.rules]
    if taken:
        yield wrong(
            "name",
            f"{', '.join(taken)} exist outside of a stack {settings.name}",
            "delete them, or choose another name",
        )
    else:
        yield ok("name", "the names of functions, machines, logs, cluster and rules are free")


def _new_buckets(settings: DeploySettings, s3: Any) -> Iterator[AccountFinding]:
    for purpose in ("inbox", "staging", "lake"):
        bucket = getattr(settings.buckets, purpose)
        if purpose in settings.buckets.existing:
            continue
        try:
            with asking(*GONE, "403", "301"):
                s3.head_bucket(Bucket=bucket)
        except AbsentError as exc:
            if str(exc) in GONE:
                yield ok(f"buckets.{purpose}", f"{bucket} is free")
                continue
        yield wrong(
            f"buckets.{purpose}",
            f"{bucket} exists, in this account or another",
            "if it is yours, name it in buckets.existing; else choose another name",
        )


def check_buckets(settings: DeploySettings, clients: Clients) -> Iterator[AccountFinding]:
    """Buckets that the stack uses and does not create."""
    s3, buckets, shared = clients("s3"), settings.buckets, settings.shared
    used = {f"buckets.{purpose}": getattr(buckets, purpose) for purpose in buckets.existing}
    used |= {"buckets.access_logs": buckets.access_logs} if buckets.access_logs else {}
    used |= {f"shared.imports ({name})": name for name in shared.imports}
    used |= {f"shared.exports ({name})": name for name in shared.exports}
    for where, bucket in used.items():
        try:
            with asking(*GONE, "403"):
                s3.head_bucket(Bucket=bucket)
        except AbsentError as exc:
            if str(exc) in GONE:
                yield wrong(where, f"{bucket} does not exist", "create it, or correct the name")
            else:
                yield note(where, f"{bucket} may not be read with these credentials", "its policy must admit the roles")
            continue
        if where == "buckets.inbox":
            yield from _inbox(s3, bucket)


def _inbox(s3: Any, bucket: str) -> Iterator[AccountFinding]:
    with asking():
        versioning = s3.get_bucket_versioning(Bucket=bucket).get("Status")
        notified = s3.get_bucket_notification_configuration(Bucket=bucket)
    if versioning != "Enabled":
        yield wrong(
            "buckets.inbox",
            f"{bucket} keeps no versions: a file could change while it is imported",
            f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled",
        )
    if "EventBridgeConfiguration" not in notified:
        yield wrong(
            "buckets.inbox",
            f"{bucket} does not notify EventBridge: files would start nothing",
            "turn EventBridge on in its notifications (docs/deploy.md, section 2)",
        )


def check_linked_roles(settings: DeploySettings, clients: Clients) -> Iterator[AccountFinding]:
    """Roles that ECS and EC2 Auto Scaling have only after their first use in an account."""
    del settings
    iam = clients("iam")
    for role, service in LINKED_ROLES.items():
        try:
            with asking("NoSuchEntity"):
                iam.get_role(RoleName=role)
        except AbsentError:
            yield wrong(
                role,
                f"does not exist: nothing has used {service} in this account yet",
                f"aws iam create-service-linked-role --aws-service-name {service}",
            )
        else:
            yield ok(role, "exists")


def check_certificate(settings: DeploySettings, clients: Clients) -> Iterator[AccountFinding]:
    """The certificate of the service's balancer, if there is a service."""
    api = settings.api
    if not api.host:
        return
    try:
        with asking("ResourceNotFoundException"):
            found = clients("acm").describe_certificate(CertificateArn=api.certificate)["Certificate"]
    except AbsentError:
        yield wrong("api.certificate", f"{api.certificate} does not exist", "request or import one in ACM")
        return
    names = {found.get("DomainName", ""), *found.get("SubjectAlternativeNames", ())}
    if found.get("Status") != "ISSUED":
        yield wrong("api.certificate", f"is {found.get('Status')}", "validate it, and wait until it is ISSUED")
    elif not {api.host, f"*.{api.host.partition('.')[2]}"} & names:
        yield wrong("api.certificate", f"is for {', '.join(sorted(names))}", f"use one for {api.host}")
    else:
        yield ok("api.certificate", f"is issued for {api.host}")
