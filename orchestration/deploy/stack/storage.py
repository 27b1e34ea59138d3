"""The key and the three buckets: encrypted, over TLS only, closed to the public, retained when the stack is deleted."""

from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from orchestration.deploy.settings import DeploySettings
from orchestration.deploy.stack.purposes import LOGICAL
from orchestration.deploy.stack.site import VERSION, Site, acknowledge
from schemas.layout import CUTS_PREFIX, IMPORTS_PREFIX, INTENTS_PREFIX, UPLOADS_PREFIX

ABORT_DAYS: Final = 7
"""A multipart upload that is not finished within a week is aborted."""
EXPIRING: Final = (IMPORTS_PREFIX, INTENTS_PREFIX, UPLOADS_PREFIX, CUTS_PREFIX)
"""Prefixes of the staging bucket. Segment checkpoints are excluded: workers start from them, however old."""
_NO_ACCESS_LOGS: Final = "buckets.access_logs names no bucket: CloudTrail's data events can show who has read what"


def make_key(stack: Any, settings: DeploySettings) -> str:
    """ARN of the key: the one in the settings, or one of the stack's own, whose policy lets AWS' services use it."""
    if settings.buckets.key:
        return settings.buckets.key
    key = kms.CfnKey(
        stack,
        "Key",
        description=f"Data, logs and messages of {settings.name}",
        enable_key_rotation=True,
        pending_window_in_days=30,
        key_policy={
            "Version": VERSION,
            "Statement": [
                {
                    "Sid": "Account",
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:{settings.partition}:iam::{settings.account}:root"},
                    "Action": "kms:*",
                    "Resource": "*",
                },
                {
                    "Sid": "Logs",
                    "Effect": "Allow",
                    "Principal": {"Service": f"logs.{settings.region}.{settings.domain}"},
                    "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
                    "Resource": "*",
                    "Condition": {
                        "ArnLike": {"kms:EncryptionContext:aws:logs:arn": settings.arn("logs", "log-group:*")}
                    },
                },
                # Only alarms and rules of this account; topics and queues themselves admit only ours.
                {
                    "Sid": "Messages",
                    "Effect": "Allow",
                    "Principal": {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]},
                    "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
                    "Resource": "*",
                    "Condition": {"StringEquals": {"aws:SourceAccount": settings.account}},
                },
            ],
        },
    )
    _retain(key)
    return str(key.attr_arn)


def make_buckets(site: Site) -> None:
    """Create the buckets that do not exist yet."""
    buckets = site.settings.buckets
    for purpose, logical in LOGICAL.items():
        if purpose not in buckets.existing:
            _bucket(site, logical, purpose, getattr(buckets, purpose))


def _bucket(site: Site, logical: str, purpose: str, name: str) -> None:
    logs = site.settings.buckets.access_logs
    bucket = s3.CfnBucket(
        site.stack,
        logical,
        bucket_name=name,
        bucket_encryption=s3.CfnBucket.BucketEncryptionProperty(
            server_side_encryption_configuration=[
                s3.CfnBucket.ServerSideEncryptionRuleProperty(
                    # One key per bucket and hour, not per object: a hundredth of the requests to KMS.
                    bucket_key_enabled=True,
                    server_side_encryption_by_default=s3.CfnBucket.ServerSideEncryptionByDefaultProperty(
                        sse_algorithm="aws:kms", kms_master_key_id=site.key
                    ),
                )
            ]
        ),
        public_access_block_configuration=s3.CfnBucket.PublicAccessBlockConfigurationProperty(
            block_public_acls=True, block_public_policy=True, ignore_public_acls=True, restrict_public_buckets=True
        ),
        ownership_controls=s3.CfnBucket.OwnershipControlsProperty(
            rules=[s3.CfnBucket.OwnershipControlsRuleProperty(object_ownership="BucketOwnerEnforced")]
        ),
        notification_configuration=s3.CfnBucket.NotificationConfigurationProperty(
            event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
        )
        if purpose == "inbox"
        else None,
        # A job reads the version that it was started for. The lake is not versioned: what is erased there must be gone.
        versioning_configuration=s3.CfnBucket.VersioningConfigurationProperty(status="Enabled")
        if purpose == "inbox"
        else None,
        cors_configuration=_from_pages(site) if purpose == "staging" else None,
        lifecycle_configuration=s3.CfnBucket.LifecycleConfigurationProperty(rules=_lifecycle(site, purpose)),
        logging_configuration=s3.CfnBucket.LoggingConfigurationProperty(
            destination_bucket_name=logs, log_file_prefix=f"{name}/"
        )
        if logs
        else None,
    )
    _retain(bucket)
    if not logs:
        acknowledge(bucket, "S1", _NO_ACCESS_LOGS)
    s3.CfnBucketPolicy(
        site.stack,
        f"{logical}Policy",
        bucket=bucket.ref,
        policy_document={
            "Version": VERSION,
            "Statement": [
                {
                    "Sid": "TlsOnly",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [bucket.attr_arn, cdk.Fn.join("", [bucket.attr_arn, "/*"])],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ],
        },
    )


def _from_pages(site: Site) -> Any:
    """What pages of the service may do in a browser: send uploads by requests that it has signed, and fetch exports."""
    if not (host := site.settings.api.host):
        return None
    rule = s3.CfnBucket.CorsRuleProperty(
        allowed_origins=[f"https://{host}"],
        allowed_methods=["GET", "PUT"],
        allowed_headers=["content-type", "if-none-match"],
        exposed_headers=["ETag"],
        max_age=3600,
    )
    return s3.CfnBucket.CorsConfigurationProperty(cors_rules=[rule])


def _lifecycle(site: Site, purpose: str) -> list[Any]:
    rule = s3.CfnBucket.RuleProperty
    rules = [
        rule(
            id="abort-uploads",
            status="Enabled",
            abort_incomplete_multipart_upload=s3.CfnBucket.AbortIncompleteMultipartUploadProperty(
                days_after_initiation=ABORT_DAYS
            ),
        )
    ]
    buckets = site.settings.buckets
    if purpose == "inbox":
        old = s3.CfnBucket.NoncurrentVersionExpirationProperty(noncurrent_days=buckets.old_version_days)
        rules.append(
            rule(
                id="old-versions",
                status="Enabled",
                noncurrent_version_expiration=old,
                expired_object_delete_marker=True,
            )
        )
    if purpose == "staging":
        rules += [
            rule(
                id=f"expire-{prefix.strip('/').replace('/', '-')}",
                status="Enabled",
                prefix=prefix,
                expiration_in_days=buckets.staging_days,
            )
            for prefix in EXPIRING
        ]
    return rules


def _retain(resource: Any) -> None:
    # Except in a deployment that fails while it creates them: they are empty, and would block the next one.
    resource.apply_removal_policy(cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
