"""Queues for undeliverable messages, and topics for subscribers: encrypted, over TLS only."""

from typing import Any, Final

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

from orchestration.deploy.stack.site import VERSION, Site, acknowledge

KEEP_S: Final = 14 * 86_400
"""SQS' maximum."""
_LAST = "this is where undelivered messages end up: an alarm reports them, and people inspect it"


def make_queue(site: Site, logical: str, *statements: dict[str, Any]) -> Any:
    """A dead-letter queue with its policy. Statements get the queue's ARN as their resource."""
    queue = sqs.CfnQueue(site.stack, logical, message_retention_period=KEEP_S, kms_master_key_id=site.key)
    acknowledge(queue, "SQS3", _LAST)
    tls = _tls_only("sqs:*")
    sqs.CfnQueuePolicy(
        site.stack,
        f"{logical}Policy",
        queues=[queue.ref],
        policy_document={
            "Version": VERSION,
            "Statement": [{**statement, "Resource": queue.attr_arn} for statement in (tls, *statements)],
        },
    )
    return queue


def make_topic(site: Site, logical: str, display: str, *statements: dict[str, Any]) -> Any:
    """A topic with its policy. Statements get the topic's ARN as their resource."""
    topic = sns.CfnTopic(site.stack, logical, display_name=display, kms_master_key_id=site.key)
    tls = _tls_only("sns:Publish")
    sns.CfnTopicPolicy(
        site.stack,
        f"{logical}Policy",
        topics=[topic.ref],
        policy_document={
            "Version": VERSION,
            "Statement": [{**statement, "Resource": topic.ref} for statement in (tls, *statements)],
        },
    )
    return topic


def _tls_only(action: str) -> dict[str, Any]:
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
