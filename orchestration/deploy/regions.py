"""Availability of services by region, from botocore's list of AWS endpoints. Offline, and as old as botocore."""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

from orchestration.deploy.settings import DeploySettings

if TYPE_CHECKING:
    from botocore.session import Session

NEEDED: Final = {
    "s3": "Amazon S3",
    "events": "Amazon EventBridge",
    "stepfunctions": "AWS Step Functions",
    "lambda": "AWS Lambda",
    "ecs": "Amazon ECS",
    "ecr": "Amazon ECR",
    "ec2": "Amazon EC2",
    "autoscaling": "Amazon EC2 Auto Scaling",
    "secretsmanager": "AWS Secrets Manager",
    "kms": "AWS KMS",
    "sns": "Amazon SNS",
    "sqs": "Amazon SQS",
    "logs": "Amazon CloudWatch Logs",
    "cloudwatch": "Amazon CloudWatch",
}
"""botocore's name -> AWS' name of the services that every deployment uses."""


def needed(settings: DeploySettings) -> dict[str, str]:
    """The services that this deployment uses."""
    services = dict(NEEDED)
    if not settings.limits.fixed:
        services["scheduler"] = "Amazon EventBridge Scheduler"
    if settings.kafka.cluster:
        services["kafka"] = "Amazon MSK"
    if settings.api.host:
        services["elbv2"] = "Elastic Load Balancing"
    if settings.mail.from_ and not settings.mail.host:
        services["ses"] = "Amazon SES"
    return services


def missing(settings: DeploySettings) -> Iterator[str]:
    """Names of the services that the region lacks, as far as botocore knows."""
    for service, name in needed(settings).items():
        if settings.region not in _regions(service, settings.partition):
            yield name


def is_known(settings: DeploySettings) -> bool:
    """Whether botocore knows the region at all."""
    return settings.region in _regions("ec2", settings.partition)


@cache
def _regions(service: str, partition: str) -> frozenset[str]:
    return frozenset(_session().get_available_regions(service, partition))


@cache
def _session() -> "Session":
    from botocore.session import Session

    return Session()
