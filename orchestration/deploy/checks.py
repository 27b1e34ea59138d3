"""Errors in the settings of a deployment: contradictions, wrong formats, names that are too long.

Only what can be checked without the account. What needs the account (does the bucket exist, is the secret there) shows
in CloudFormation or at the first start; docs/deploy.md describes how.
"""

import re
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Final

from orchestration.deploy import regions
from orchestration.deploy.api_checks import check_api
from orchestration.deploy.forms import (
    ACCOUNT,
    BROKERS,
    CLUSTER,
    IMAGE,
    KEY,
    PREFIX,
    REGION,
    SECRET,
    at_least,
    check_arn,
    finding,
    ids,
)
from orchestration.deploy.names import BUCKET, LIMITS, STACK, names_of
from orchestration.deploy.settings import DeploySettings
from orchestration.deploy.sizes import DAY_S, check_jobs, check_notifications, check_sizes
from orchestration.deploy.toml_reader import Finding, read, read_toml, refuse
from orchestration.platform.capacity import FEWEST_CALLS, connections_for
from schemas.kafka_address import IAM, MECHANISMS
from schemas.topics import MAX_JOB_AGE_S, RETENTION_MS

ARCHITECTURES: Final = ("x86_64", "arm64")
ENDPOINTS: Final = (
    "ecr.api",
    "ecr.dkr",
    "ecs",
    "ecs-agent",
    "ecs-telemetry",
    "email-smtp",
    "kms",
    "lambda",
    "logs",
    "scheduler",
    "secretsmanager",
    "sns",
    "sqs",
    "states",
    "sts",
)
PURPOSES: Final = ("inbox", "staging", "lake")


def check(settings: DeploySettings) -> Iterator[Finding]:
    """All findings, in the order of the file."""
    yield from _identity(settings)
    yield from _network(settings)
    yield from _buckets(settings)
    yield from _kafka(settings)
    yield from _database(settings)
    yield from check_api(settings)
    yield from check_sizes(settings)
    yield from check_notifications(settings)
    yield from check_jobs(settings.jobs)


def _identity(settings: DeploySettings) -> Iterator[Finding]:
    if not STACK.fullmatch(settings.name):
        yield finding(
            "name",
            f"{settings.name!r} is not lower-case letters, digits and dashes, or begins with aws, ecs or fargate",
        )
    kinds: dict[str, str] = {}
    for kind, name in names_of(settings).all():
        if len(name) > len(kinds.get(kind, "")):
            kinds[kind] = name
    for kind, longest in kinds.items():
        if (excess := len(longest) - LIMITS[kind]) > 0:
            allowed = len(settings.name) - excess
            yield finding(
                "name", f"makes the {kind} {longest}, {excess} characters too long; at most {max(allowed, 0)} here"
            )
    if not ACCOUNT.fullmatch(settings.account):
        yield finding("account", f"{settings.account!r} is not a string of twelve digits")
    yield from _region(settings)
    if settings.architecture not in ARCHITECTURES:
        yield finding("architecture", f"{settings.architecture!r} is not {' or '.join(ARCHITECTURES)}")
    yield from _image(settings, "image", settings.image)
    if settings.setup_image:
        yield from _image(settings, "setup_image", settings.setup_image)


def _region(settings: DeploySettings) -> Iterator[Finding]:
    if not REGION.fullmatch(settings.region):
        yield finding("region", f"{settings.region!r} is not the name of a region, such as eu-central-1")
    elif settings.partition != "aws":
        # Step Functions runs no definition with ARNs of another partition, and there is only one definition.
        yield finding(
            "region",
            f"{settings.region} is in the partition {settings.partition}; the workflow only supports ARNs of the "
            "partition aws",
        )
    elif not settings.regions_unchecked:
        if not regions.is_known(settings):
            yield finding(
                "region",
                f"{settings.region} is not known here; set regions_unchecked = true if it has all required services",
            )
        elif lacking := list(regions.missing(settings)):
            yield finding(
                "region",
                f"{settings.region} has no {', '.join(lacking)}, as far as known; set regions_unchecked = true if "
                "it does",
            )


def _image(settings: DeploySettings, setting: str, given: str) -> Iterator[Finding]:
    image = IMAGE.fullmatch(given)
    if "@sha256:" not in given:
        yield finding(
            setting, "has no digest, and a tag may point to another image tomorrow; use REPOSITORY@sha256:DIGEST"
        )
    elif image is None:
        yield finding(setting, f"{given!r} is not ACCOUNT.dkr.ecr.REGION.{settings.domain}/NAME@sha256:DIGEST")
    elif image["region"] != settings.region:
        yield finding(
            setting, f"is in {image['region']}; Lambda only takes images from its own region, {settings.region}"
        )
    elif image["domain"] != settings.domain:
        yield finding(
            setting, f"ends with {image['domain']}, but registries in {settings.region} end with {settings.domain}"
        )


def _network(settings: DeploySettings) -> Iterator[Finding]:
    network = settings.network
    yield from ids("network.vpc", (network.vpc,), "vpc")
    yield from ids("network.subnets", network.subnets, "subnet")
    yield from ids("network.route_tables", network.route_tables, "rtb")
    if len(set(network.subnets)) < 2:
        yield finding("network.subnets", "has fewer than two; list private subnets in two availability zones")
    for endpoint in network.endpoints:
        if endpoint not in ENDPOINTS:
            yield finding("network.endpoints", f"{endpoint!r} is not one of {', '.join(ENDPOINTS)}")
    for setting, group in (("kafka", settings.kafka.security_group), ("database", settings.database.security_group)):
        yield from ids(f"{setting}.security_group", (group,) if group else (), "sg")


def _buckets(settings: DeploySettings) -> Iterator[Finding]:
    buckets = settings.buckets
    names = {purpose: getattr(buckets, purpose) for purpose in PURPOSES}
    names |= {"access_logs": buckets.access_logs} if buckets.access_logs else {}
    for purpose, name in names.items():
        if not BUCKET.fullmatch(name):
            yield finding(
                f"buckets.{purpose}", f"{name!r} is not 3 to 63 lower-case letters, digits and dashes, as S3 requires"
            )
        for other, other_name in names.items():
            if other < purpose and other_name == name:
                yield finding(
                    f"buckets.{purpose}",
                    f"is {name}, which is already buckets.{other}; each purpose needs its own bucket",
                )
    yield from _other_buckets(settings, set(names.values()))
    for purpose in buckets.existing:
        if purpose not in PURPOSES:
            yield finding("buckets.existing", f"{purpose!r} is not one of {', '.join(PURPOSES)}")
    if not PREFIX.fullmatch(buckets.inbox_prefix):
        yield finding("buckets.inbox_prefix", f"{buckets.inbox_prefix!r} does not end with a slash, or starts with one")
    yield from check_arn(settings, "buckets.key", buckets.key, KEY, "a KMS key")
    least = ceil(max(RETENTION_MS / 1000, MAX_JOB_AGE_S) / DAY_S)
    if buckets.staging_days < least:
        yield finding(
            "buckets.staging_days",
            f"{buckets.staging_days} is less than {least}: staged data would be deleted while a job may still need it",
        )
    if buckets.old_version_days < (age := ceil(MAX_JOB_AGE_S / DAY_S)):
        yield finding(
            "buckets.old_version_days",
            f"{buckets.old_version_days} is less than {age}, the days that a job may take: its file would be "
            "deleted while it runs",
        )


def _other_buckets(settings: DeploySettings, own: set[str]) -> Iterator[Finding]:
    for setting, others in (("shared.imports", settings.shared.imports), ("shared.exports", settings.shared.exports)):
        for name in others:
            if not BUCKET.fullmatch(name):
                yield finding(setting, f"{name!r} is not a bucket name")
            elif name in own:
                yield finding(setting, f"{name} is one of the deployment's own buckets")
    for key in settings.shared.keys:
        yield from check_arn(settings, "shared.keys", key, KEY, "a KMS key")


def _kafka(settings: DeploySettings) -> Iterator[Finding]:
    kafka = settings.kafka
    if not BROKERS.fullmatch(kafka.bootstrap):
        yield finding("kafka.bootstrap", f"{kafka.bootstrap!r} is not HOST:PORT[,HOST:PORT]")
    elif any(not 0 < port < 65536 for port in kafka.ports):
        yield finding("kafka.bootstrap", "has an invalid port")
    if kafka.mechanism and kafka.mechanism not in MECHANISMS:
        yield finding("kafka.mechanism", f"{kafka.mechanism!r} is not one of {', '.join(MECHANISMS)}")
    if kafka.with_role:
        if not kafka.cluster:
            yield finding("kafka.cluster", f"is missing: {IAM} is the logon of Amazon MSK, and rights name the cluster")
        if kafka.secret:
            yield finding("kafka.secret", f"is set, but with {IAM} roles log on, without a password")
    elif kafka.mechanism and not kafka.secret:
        yield finding("kafka.secret", f"is missing: {kafka.mechanism} requires user and password")
    if kafka.secret and not kafka.mechanism:
        yield finding("kafka.mechanism", "is missing: kafka.secret is set, but the mechanism to log on with is not")
    if kafka.secret_key and not kafka.secret:
        yield finding("kafka.secret_key", "is the key of a secret, but the secret is not set")
    if kafka.cluster and kafka.mechanism not in {"", "SCRAM-SHA-512", IAM}:
        yield finding("kafka.mechanism", f"is {kafka.mechanism}; Amazon MSK supports SCRAM-SHA-512 and {IAM}")
    if kafka.cluster and kafka.secret and ":secret:AmazonMSK_" not in kafka.secret:
        yield finding("kafka.secret", "must be a secret whose name begins with AmazonMSK_; MSK accepts no other")
    if kafka.cluster and kafka.secret and not kafka.secret_key:
        yield finding(
            "kafka.secret_key",
            "is missing: MSK only accepts secrets encrypted with a key of your own, and roles need access to it",
        )
    yield from check_arn(settings, "kafka.secret", kafka.secret, SECRET, "a secret of Secrets Manager")
    yield from check_arn(settings, "kafka.ca_secret", kafka.ca_secret, SECRET, "a secret of Secrets Manager")
    yield from check_arn(settings, "kafka.secret_key", kafka.secret_key, KEY, "a KMS key")
    yield from check_arn(settings, "kafka.cluster", kafka.cluster, CLUSTER, "an Amazon MSK cluster")
    yield from at_least("kafka.partitions", kafka.partitions, 1)
    yield from at_least("kafka.replication_factor", kafka.replication_factor, 1)


def _database(settings: DeploySettings) -> Iterator[Finding]:
    database = settings.database
    if not re.fullmatch(r"[A-Za-z0-9.-]+", database.host):
        yield finding("database.host", f"{database.host!r} is not a host name")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", database.name):
        yield finding("database.name", f"{database.name!r} is not a database name")
    if not 0 < database.port < 65536:
        yield finding("database.port", f"{database.port} is not a port")
    if settings.function_calls < FEWEST_CALLS:
        needed = connections_for(FEWEST_CALLS, processes=settings.processes, workers=settings.all_workers)
        yield finding(
            "database.connections",
            f"{database.connections} leaves too few to functions: this deployment needs at least {needed}",
        )
    if not database.secret:
        yield finding("database.secret", "is empty: the catalog requires a user and a password")
    yield from check_arn(settings, "database.secret", database.secret, SECRET, "a secret of Secrets Manager")
    yield from check_arn(settings, "database.ca_secret", database.ca_secret, SECRET, "a secret of Secrets Manager")
    yield from check_arn(settings, "database.secret_key", database.secret_key, KEY, "a KMS key")


def load(path: Path) -> DeploySettings:
    """The settings of a file, checked. Raises `UserError` BAD_DEPLOYMENT naming every setting that is wrong."""
    findings: list[Finding] = []
    settings = read(DeploySettings, read_toml(path), findings)
    refuse(str(path), findings)
    assert settings is not None  # noqa: S101  # None only with findings
    refuse(str(path), list(check(settings)))
    return settings
