"""Alarms, and the operators' topic that they notify."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sns as sns

from orchestration.deploy.stack.logs import metric_filter
from orchestration.deploy.stack.queues import make_topic
from orchestration.deploy.stack.site import Site
from schemas import metrics
from schemas.metrics import SUMMARY_FIELD, UNDECODABLE_JOB_EVENTS, Metric, cloudwatch_namespace

MINUTES_5: Final = 300
STALLED_S: Final = 900
FROM_RELAY: Final = (
    metrics.LAG,
    metrics.JOB_EVENTS_STALLED,
    metrics.WORKERS,
    metrics.DEAD,
    metrics.OLDEST_JOB,
    metrics.UNAVAILABLE,
    metrics.SEGMENT_MISMATCHES,
)
"""Metrics in the summary that the control plane logs once a minute; alarms are built on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm on one metric: the threshold is reached or passed in each of `periods` periods."""

    logical: str
    description: str
    metric: str
    threshold: float = 1
    statistic: str = "Sum"
    periods: int = 1
    period_s: int = MINUTES_5
    comparison: str = "GreaterThanOrEqualToThreshold"
    namespace: str = ""
    dimensions: Mapping[str, str] | None = None
    missing: str = "notBreaching"


def make_alarms(site: Site, machines: Mapping[str, Any], relay_logs: Any, queues: Mapping[str, Any]) -> Any:
    """Create every alarm; returns the topic that they notify."""
    topic = _operators(site)
    for metric in FROM_RELAY:
        selector = f"$.{SUMMARY_FIELD}.{metric.name}"
        logical = "".join(word.capitalize() for word in metric.name.removeprefix("muster_").split("_"))
        metric_filter(
            site, f"{logical}Metric", relay_logs, pattern=f"{{ {selector} >= 0 }}", metric=metric.name, value=selector
        )
    undecodable = Alarm(
        logical="UndecodableEventsAlarm",
        description="The function cannot read some job events: they are from another release, or not from Muster",
        metric=UNDECODABLE_JOB_EVENTS,
    )
    for alarm in (undecodable, *_machine_alarms(machines), *_relay_alarms(site), *_queue_alarms(queues)):
        _make(site, alarm, topic)
    return topic


def _operators(site: Site) -> Any:
    topic = make_topic(
        site,
        "OperatorsTopic",
        f"{site.names.deployment} operators",
        {
            "Sid": "Alarms",
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Condition": {"StringEquals": {"aws:SourceAccount": site.settings.account}},
        },
    )
    for number, address in enumerate(site.settings.alarms.addresses, start=1):
        sns.CfnSubscription(
            site.stack, f"OperatorsAddress{number}", topic_arn=topic.ref, protocol="email", endpoint=address
        )
    return topic


def _machine_alarms(machines: Mapping[str, Any]) -> Sequence[Alarm]:
    found = []
    for name, machine in machines.items():
        found += [
            Alarm(
                logical=f"{name}FailedAlarm",
                description=f"{name}: an execution failed through no fault of the customer. `muster jobs list "
                "--state FAILED` "
                "shows the jobs",
                metric=f"{name}Failures",
            ),
            Alarm(
                logical=f"{name}TimedOutAlarm",
                description=f"{name}: an execution exceeded its time limit",
                metric="ExecutionsTimedOut",
                namespace="AWS/States",
                dimensions={"StateMachineArn": machine.attr_arn},
            ),
        ]
    return found


def _relay_alarms(site: Site) -> Sequence[Alarm]:
    alarms = site.settings.alarms

    def alarm(metric: Metric, logical: str, description: str, **changes: Any) -> Alarm:
        return Alarm(
            logical=logical, description=description, metric=metric.name, **({"statistic": "Maximum"} | changes)
        )

    return (
        alarm(
            metrics.OLDEST_JOB,
            "StuckJobAlarm",
            f"A job has been running for {alarms.oldest_job_s} s. `muster jobs list` shows its state",
            threshold=alarms.oldest_job_s,
        ),
        alarm(
            metrics.LAG,
            "LagAlarm",
            f"A partition has had {alarms.lag} unacknowledged messages for 15 minutes: too few workers, or a stuck one",
            threshold=alarms.lag,
            periods=3,
        ),
        alarm(
            metrics.JOB_EVENTS_STALLED,
            "JobEventsStalledAlarm",
            "Job events are waiting, and none was consumed for 15 minutes: the mapping cannot poll Kafka, or its "
            "function fails",
            threshold=STALLED_S,
        ),
        alarm(metrics.DEAD, "DeadLettersAlarm", "There are dead letters. `muster dead-letters list` shows them"),
        alarm(
            metrics.WORKERS,
            "WorkersAlarm",
            "No worker is in the consumer group: nothing is materialised",
            threshold=0,
            comparison="LessThanOrEqualToThreshold",
            periods=2,
        ),
        alarm(
            metrics.UNAVAILABLE,
            "UnavailableAlarm",
            "The relay cannot reach the catalog or Kafka, or does not report at all",
            periods=2,
            missing="breaching",
        ),
        alarm(
            metrics.SEGMENT_MISMATCHES,
            "SegmentMismatchAlarm",
            "Stream and archive disagree on members of a segment. `muster segments check` lists them",
        ),
    )


def _queue_alarms(queues: Mapping[str, Any]) -> Sequence[Alarm]:
    return [
        Alarm(
            logical=f"{name}Alarm",
            description=f"A message could not be delivered and waits in the queue {name}",
            metric="ApproximateNumberOfMessagesVisible",
            statistic="Maximum",
            namespace="AWS/SQS",
            dimensions={"QueueName": queue.attr_queue_name},
        )
        for name, queue in queues.items()
    ]


def _make(site: Site, alarm: Alarm, topic: Any) -> None:
    dimension = cloudwatch.CfnAlarm.DimensionProperty
    cloudwatch.CfnAlarm(
        site.stack,
        alarm.logical,
        alarm_description=alarm.description,
        namespace=alarm.namespace or cloudwatch_namespace(site.names.deployment),
        metric_name=alarm.metric,
        dimensions=[dimension(name=name, value=value) for name, value in (alarm.dimensions or {}).items()] or None,
        statistic=alarm.statistic,
        period=alarm.period_s,
        evaluation_periods=alarm.periods,
        threshold=alarm.threshold,
        comparison_operator=alarm.comparison,
        treat_missing_data=alarm.missing,
        # Before the first setup and during upgrades nothing runs, which is no reason for an alarm.
        actions_enabled=cdk.Fn.condition_if(site.running, True, False),  # noqa: FBT003  # CloudFormation's own function
        alarm_actions=[topic.ref],
        ok_actions=[topic.ref],
    )
