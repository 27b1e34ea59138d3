"""Permissions of roles, by purpose. Each wildcard has its reason here."""

from collections.abc import Iterable

import aws_cdk as cdk

from orchestration.deploy.environment import readable, secrets_of
from orchestration.deploy.stack.site import SCHEDULER_ROLE, Grant, Site
from orchestration.workflow.timers import NEXT_CALL
from schemas.layout import AUDIENCES_PREFIX, CUTS_PREFIX, DOWNLOADS_PREFIX, EXPORTS_PREFIX, IMPORTS_PREFIX
from schemas.topics import FEED_TRANSACTIONS, OWN_GROUP_PREFIX, OWN_PREFIX
from segmentation.scaling import Scaled

OBJECTS = "object names are not known in advance: one per file, part or version"
WRITING = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")
MANAGE_TOPICS = (
    "kafka-cluster:CreateTopic",
    "kafka-cluster:AlterTopic",
    "kafka-cluster:DescribeTopicDynamicConfiguration",
    "kafka-cluster:AlterTopicDynamicConfiguration",
)
NAMED_BY_JOBS = "executions are named by their jobs"
NO_RESOURCE_TYPE = "AWS defines no resource for these actions"


def read_objects(site: Site, buckets: Iterable[str], prefix: str = "", *, versions: bool = False) -> tuple[Grant, ...]:
    """Read objects, pinned by version, and check whether they exist. `versions`: also pin several by listing them."""
    names = list(buckets)
    if not names:
        return ()
    arn = site.settings.bucket_arn
    return (
        Grant(
            actions=("s3:GetObject", "s3:GetObjectVersion"),
            resources=tuple(arn(name, f"{prefix}*") for name in names),
            reason=OBJECTS,
        ),
        Grant(
            actions=("s3:ListBucket", *(["s3:ListBucketVersions"] if versions else [])),
            resources=tuple(arn(name) for name in names),
        ),
    )


def write_objects(site: Site, buckets: Iterable[str], prefix: str = "") -> tuple[Grant, ...]:
    """As `read_objects`; also put, including multipart uploads, and delete."""
    names = list(buckets)
    if not names:
        return ()
    write = Grant(
        actions=WRITING,
        resources=tuple(site.settings.bucket_arn(name, f"{prefix}*") for name in names),
        reason=OBJECTS,
    )
    return (*read_objects(site, names, prefix), write)


def take_cuts(site: Site) -> tuple[Grant, ...]:
    """Read the members with which a feed begins, and delete them afterwards."""
    staging = site.settings.buckets.staging
    delete = Grant(
        actions=("s3:DeleteObject",), resources=(site.settings.bucket_arn(staging, f"{CUTS_PREFIX}*"),), reason=OBJECTS
    )
    return (*read_objects(site, (staging,), CUTS_PREFIX), delete)


def write_units(site: Site) -> Grant:
    """Put the lists of files that imports of several read, and delete those of duplicates."""
    return Grant(
        actions=("s3:PutObject", "s3:DeleteObject"),
        resources=(site.settings.bucket_arn(site.settings.buckets.staging, f"{IMPORTS_PREFIX}*/units-*"),),
        reason=OBJECTS,
    )


def write_only(site: Site, bucket: str, prefix: str) -> tuple[Grant, ...]:
    """Put, including multipart uploads whose parts others send, and delete objects below a prefix."""
    return (
        Grant(
            actions=(*WRITING, "s3:ListMultipartUploadParts"),
            resources=(site.settings.bucket_arn(bucket, f"{prefix}*"),),
            reason=OBJECTS,
        ),
    )


def export(site: Site) -> tuple[Grant, ...]:
    """Write a version, with the audiences it looks up, to the destinations of exports."""
    buckets, shared = site.settings.buckets, site.settings.shared
    return (
        *read_objects(site, (buckets.staging, buckets.lake)),
        *write_objects(site, (buckets.staging,), DOWNLOADS_PREFIX),
        *write_objects(site, (buckets.lake,), EXPORTS_PREFIX),
        # An export leases its version with a tag, which is a commit to the table's metadata.
        *write_objects(site, (buckets.lake,), f"{AUDIENCES_PREFIX}*/*/metadata/"),
        *write_objects(site, shared.exports),
        *use_key(site, *shared.keys),
    )


def use_key(site: Site, *others: str) -> tuple[Grant, ...]:
    """What S3, SNS and SQS require from users of encrypted data. `others`: keys of shared buckets."""
    return (Grant(actions=("kms:Decrypt", "kms:GenerateDataKey"), resources=(site.key, *others)),)


def read_secrets(site: Site, names: Iterable[str]) -> tuple[Grant, ...]:
    """Those of the named secrets that exist, and the keys of secrets that have their own."""
    known = secrets_of(site.settings)
    arns = tuple(readable(site.settings, names).values())
    if not arns:
        return ()
    keys = {
        known.get("CATALOG_URL"): site.settings.database.secret_key,
        known.get("KAFKA_CREDENTIALS"): site.settings.kafka.secret_key,
        known.get("SMTP"): site.settings.mail.secret_key,
        known.get("WEBHOOK_SECRET"): site.settings.notify.webhook_secret_key,
        known.get("OIDC_CLIENT_SECRET"): site.settings.api.oidc_secret_key,
    }
    used = tuple(sorted({key for arn, key in keys.items() if arn in arns and key}))
    grants = (Grant(actions=("secretsmanager:GetSecretValue",), resources=arns),)
    if not used:
        return grants
    via = {"StringEquals": {"kms:ViaService": f"secretsmanager.{site.settings.region}.{site.settings.domain}"}}
    return (*grants, Grant(actions=("kms:Decrypt",), resources=used, condition=via))


def use_kafka(
    site: Site, *topics: str, write: bool = True, manage: bool = False, transactions: bool = False
) -> tuple[Grant, ...]:
    """Consume and produce, if roles log on to the brokers.

    `topics`: patterns besides Muster's own; `manage`: create topics, too; `transactions`: of feeds.
    Actions by the Amazon MSK Developer Guide, "Semantics of IAM authorization policy actions and resources".
    """
    kafka = site.settings.kafka
    if not kafka.with_role:
        return ()

    def arns(kind: str, *patterns: str) -> tuple[str, ...]:
        return tuple(f"{kafka.cluster.replace(':cluster/', f':{kind}/')}/{pattern}" for pattern in patterns)

    written = ("kafka-cluster:WriteData",) if write else ()
    looked_at = ("kafka-cluster:DescribeTopicDynamicConfiguration",) if transactions else ()  # is it compacted?
    wanted = ("kafka-cluster:DescribeTopic", "kafka-cluster:ReadData", *written, *looked_at)
    wanted += MANAGE_TOPICS if manage else ()
    connect = ("kafka-cluster:Connect", *(("kafka-cluster:WriteDataIdempotently",) if write else ()))
    own = (f"{OWN_PREFIX}*", *topics)
    return (
        Grant(actions=connect, resources=(kafka.cluster,)),
        Grant(actions=wanted, resources=arns("topic", *own), reason="topics get their ids from the cluster"),
        Grant(
            actions=("kafka-cluster:DescribeGroup", "kafka-cluster:AlterGroup"),
            resources=arns("group", f"{OWN_GROUP_PREFIX}*"),
            reason="groups are named by the release",
        ),
        *(
            (
                Grant(
                    actions=("kafka-cluster:DescribeTransactionalId", "kafka-cluster:AlterTransactionalId"),
                    resources=arns("transactional-id", f"{FEED_TRANSACTIONS}*"),
                    reason="each feed has its own",
                ),
            )
            if transactions
            else ()
        ),
    )


def write_log(site: Site, group: str) -> tuple[Grant, ...]:
    """Write to the streams of one log group."""
    return (
        Grant(
            actions=("logs:CreateLogStream", "logs:PutLogEvents"),
            resources=(site.settings.arn("logs", f"log-group:{group}:*"),),
            reason="each container creates a log stream under its own name",
        ),
    )


def drive_machines(site: Site, machines: Iterable[str]) -> tuple[Grant, ...]:
    """As `run_machines`; also answer waiting executions, and look whether machines and executions are there."""
    names = list(machines)
    answers = ("states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat")
    return (
        *run_machines(site, names),
        Grant(actions=("states:DescribeExecution",), resources=_executions(site, names), reason=NAMED_BY_JOBS),
        Grant(
            actions=(*answers, "states:DescribeStateMachine"),
            resources=tuple(machine_arn(site, machine) for machine in names),
        ),
    )


def scale_services(site: Site, *, describe: bool = False) -> tuple[Grant, ...]:
    """Start and stop workers and control planes, and set the time of the next call that does.

    Nothing of this if all counts are fixed. `describe`: also see how many of them run.
    They are not started while the stack is at rest (`Run=no`), when jobs that still run ask for workers, too. Every
    call is made over TLS, so the condition is met if `Run` is yes.
    """
    services = tuple(site.settings.arn("ecs", f"service/{site.names.cluster}/{part}") for part in Scaled)
    running = {"Bool": {"aws:SecureTransport": cdk.Fn.condition_if(site.running, "true", "false")}}
    look = (Grant(actions=("ecs:DescribeServices",), resources=services),) if describe else ()
    if site.settings.limits.fixed:
        return look
    schedule = site.settings.arn("scheduler", f"schedule/default/{site.names.of(NEXT_CALL)}")
    return (
        Grant(actions=("ecs:UpdateService",), resources=services, condition=running),
        *look,
        Grant(actions=("scheduler:GetSchedule", "scheduler:UpdateSchedule"), resources=(schedule,)),
        Grant(
            actions=("iam:PassRole",),
            resources=(cdk.Fn.get_att(SCHEDULER_ROLE, "Arn").to_string(),),
            condition={"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}},
        ),
    )


def list_executions(site: Site, machines: Iterable[str]) -> tuple[Grant, ...]:
    """See whether executions run."""
    return (Grant(actions=("states:ListExecutions",), resources=tuple(machine_arn(site, name) for name in machines)),)


def run_machines(site: Site, machines: Iterable[str]) -> tuple[Grant, ...]:
    """Start executions, and stop them."""
    names = list(machines)
    return (
        Grant(actions=("states:StartExecution",), resources=tuple(machine_arn(site, name) for name in names)),
        Grant(actions=("states:StopExecution",), resources=_executions(site, names), reason=NAMED_BY_JOBS),
    )


def _executions(site: Site, machines: Iterable[str]) -> tuple[str, ...]:
    return tuple(site.settings.arn("states", f"execution:{site.names.of(name)}:*") for name in machines)


def machine_arn(site: Site, machine: str) -> str:
    """ARN of a state machine, by its name."""
    return site.settings.arn("states", f"stateMachine:{site.names.of(machine)}")


def function_in_vpc(site: Site, functions: Iterable[str]) -> tuple[Grant, ...]:
    """What Lambda itself needs to place functions in subnets; denied to the code of the functions."""
    actions = (
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    )
    arns = [site.settings.arn("lambda", f"function:{function}") for function in functions]
    return (
        Grant(
            actions=actions,
            resources=("*",),
            reason="Lambda checks these actions on all resources when it creates a function",
        ),
        Grant(
            actions=actions, resources=("*",), effect="Deny", condition={"ArnLike": {"lambda:SourceFunctionArn": arns}}
        ),
    )


def trace(site: Site) -> tuple[Grant, ...]:
    """X-Ray segments, if tracing is on."""
    if not site.settings.logs.tracing:
        return ()
    actions = ("xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets")
    return (Grant(actions=actions, resources=("*",), reason=NO_RESOURCE_TYPE),)
