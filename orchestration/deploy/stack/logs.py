"""Log groups, encrypted and with a retention, and metrics extracted from their lines."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_logs as logs

from orchestration.deploy.stack.site import Site
from schemas.metrics import cloudwatch_namespace


def log_group(site: Site, logical: str, name: str) -> Any:
    """A log group with the deployment's retention. It is deleted with the stack."""
    group = logs.CfnLogGroup(
        site.stack,
        logical,
        log_group_name=name,
        retention_in_days=site.settings.logs.retention_days,
        kms_key_id=site.key,
    )
    group.apply_removal_policy(cdk.RemovalPolicy.DESTROY)
    return group


def metric_filter(site: Site, logical: str, group: Any, *, pattern: str, metric: str, value: str) -> None:
    """A metric in the deployment's namespace, from lines of JSON."""
    logs.CfnMetricFilter(
        site.stack,
        logical,
        log_group_name=group.ref,
        filter_pattern=pattern,
        metric_transformations=[
            logs.CfnMetricFilter.MetricTransformationProperty(
                metric_namespace=cloudwatch_namespace(site.names.deployment), metric_name=metric, metric_value=value
            )
        ],
    )
