"""Alarms, and the operators' topic that they notify."""

import re
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
    metrics.DEAD,
    metrics.OLDEST_JOB,
    metrics.SCHEDULE_OVERDUE,
    metrics.FEED_STALLED,
    metrics.UNAVAILABLE,
    metrics.SEGMENT_MISMATCHES,
)
"""Metrics in the summary that the control plane logs once a minute; alarms are built on them."""
OVERDUE_S: Final = 900
NEARLY: Final = 0.9
FAULTS_MIN: Final = 4
"""So few faults in five minutes set off no alarm, however few requests there were."""
RDS: Final = re.compile(r"([a-z0-9-]+)\.(cluster-(?!ro-))?[a-z0-9]+\.[a-z0-9-]+\.rds\.amazonaws\.com")
"""The host of a database of RDS, or of a cluster of Aurora. A host without a match is no such server, or a proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm on one metric: the threshold is reached or passed in each of `periods` periods.

    `expression`: of several metrics of the same kind instead, `inputs` by the names that it gives them.
    """

    logical: str
    description: str
    metric: str = ""
    expression: str = ""
    inputs: Mapping[str, str] | None = None
    threshold: float = 1
    statistic: str = "Sum"
    periods: int = 1
    period_s: int = MINUTES_5
    comparison: str = "GreaterThanOrEqualToThreshold"
    namespace: str = ""
    dimensions: Mapping[str, str] | None = None
    missing: str = "notBreaching"


def make_alarms(
    site: Site, machines: Mapping[str, Any], relay_logs: Any, queues: Mapping[str, Any], balancer: Any = None
) -> Any:
    """Create every alarm; returns the topic that they notify. `balancer`: that of the API, if there is one."""
    topic = _operators(site)
    fixed = site.settings.limits.fixed
    for metric in (*FROM_RELAY, *((metrics.WORKERS,) if fixed else ())):
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
    for alarm in (
        undecodable,
        *_machine_alarms(machines),
        *_relay_alarms(site),
        *(_alarms_of_fixed_workers() if fixed else _watcher_alarms()),
        *_queue_alarms(queues),
        *_database_alarms(site),
        *([] if balancer is None else _balancer_alarms(balancer)),
    ):
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
                logical=f"{name}ThrottledAlarm",
                description=f"{name}: Lambda has refused calls for 15 minutes, and jobs wait. `muster deploy check` "
                "compares the account's quota; `database.connections` bounds the functions that a burst calls",
                metric=f"{name}Throttles",
                periods=3,
            ),
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
            metrics.SCHEDULE_OVERDUE,
            "ScheduleOverdueAlarm",
            "The run of a schedule was due a quarter of an hour ago. `muster schedules show` names the trouble",
            threshold=OVERDUE_S,
        ),
        alarm(
            metrics.FEED_STALLED,
            "FeedStalledAlarm",
            "A feed has delivered nothing for a quarter of an hour. `muster feeds list` names it, and the trouble",
            threshold=OVERDUE_S,
        ),
        alarm(
            metrics.UNAVAILABLE,
            "UnavailableAlarm",
            "The relay cannot reach the catalog or Kafka"
            + (", or does not report at all" if site.settings.limits.fixed else ""),
            periods=2,
            # One that has left for lack of work is no fault.
            missing="breaching" if site.settings.limits.fixed else "notBreaching",
        ),
        alarm(
            metrics.SEGMENT_MISMATCHES,
            "SegmentMismatchAlarm",
            "Stream and archive disagree on members of a segment. `muster segments check` lists them",
        ),
    )


def _alarms_of_fixed_workers() -> Sequence[Alarm]:
    return [
        Alarm(
            logical="WorkersAlarm",
            description="No worker is in the consumer group: nothing is materialised",
            metric=metrics.WORKERS.name,
            statistic="Maximum",
            threshold=0,
            comparison="LessThanOrEqualToThreshold",
            periods=2,
        )
    ]


def _watcher_alarms() -> Sequence[Alarm]:
    """By what the watcher of a minute sees, since nobody else may run."""

    def alarm(logical: str, metric: str, description: str, minutes: int) -> Alarm:
        return Alarm(
            logical=logical, description=description, metric=metric, statistic="Minimum", period_s=60, periods=minutes
        )

    return [
        alarm(
            "WorkersAlarm",
            metrics.UNSERVED_MESSAGES,
            "Messages have waited for 5 minutes, and no worker is in their group: the events of the service say why "
            "none starts",
            5,
        ),
        alarm(
            "ControlPlaneAlarm",
            metrics.UNCONTROLLED_WORK,
            "There has been work without a control plane for 5 minutes: waiting jobs get no answer",
            5,
        ),
        alarm(
            "MissingTasksAlarm",
            metrics.MISSING_TASKS,
            "Workers or control planes are wanted and have not run for 15 minutes: capacity is missing, or they fail "
            "at once. `aws ecs describe-services` shows the events",
            15,
        ),
        Alarm(
            logical="WatcherAlarm",
            description="WatchWorkers has not reported for 10 minutes: work may wait without workers. Its log says why",
            metric=metrics.UNSERVED_MESSAGES,
            statistic="SampleCount",
            periods=2,
            comparison="LessThanThreshold",
            missing="breaching",
        ),
    ]


def _database_alarms(site: Site) -> Sequence[Alarm]:
    """For a server of RDS or Aurora, which its host names."""
    database = site.settings.database
    if (found := RDS.fullmatch(database.host)) is None:
        return []
    writer = {"DBClusterIdentifier": found[1], "Role": "WRITER"}
    return [
        Alarm(
            logical="DatabaseConnectionsAlarm",
            description=f"The database has had {NEARLY:.0%} of database.connections open for 15 minutes: calls are "
            "about to be refused. Who else uses the server?",
            metric="DatabaseConnections",
            statistic="Maximum",
            namespace="AWS/RDS",
            dimensions=writer if found[2] else {"DBInstanceIdentifier": found[1]},
            threshold=int(NEARLY * database.connections),
            periods=3,
        )
    ]


def _balancer_alarms(balancer: Any) -> Sequence[Alarm]:
    namespace, dimensions = "AWS/ApplicationELB", {"LoadBalancer": str(balancer.attr_load_balancer_full_name)}
    faults = "FILL(balancer, 0) + FILL(tasks, 0)"
    return [
        Alarm(
            logical="ApiErrorsAlarm",
            description="More than 5 % of the requests of 10 minutes were answered with a status of 500 or above",
            # The balancer counts no request that it could give to no task.
            expression=f"IF({faults} > {FAULTS_MIN}, 100 * ({faults}) / (FILL(requests, 0) + FILL(balancer, 0)), 0)",
            inputs={
                "balancer": "HTTPCode_ELB_5XX_Count",
                "tasks": "HTTPCode_Target_5XX_Count",
                "requests": "RequestCount",
            },
            threshold=5,
            periods=2,
            namespace=namespace,
            dimensions=dimensions,
        ),
        Alarm(
            logical="ApiSlowAlarm",
            description="1 % of the answers take more than 10 s: the catalog is slow, or readers are busy",
            metric="TargetResponseTime",
            statistic="p99",
            threshold=10,
            periods=3,
            namespace=namespace,
            dimensions=dimensions,
        ),
    ]


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
    made = cloudwatch.CfnAlarm
    namespace = alarm.namespace or cloudwatch_namespace(site.names.deployment)
    dimensions = [
        made.DimensionProperty(name=name, value=value) for name, value in (alarm.dimensions or {}).items()
    ] or None
    if alarm.expression:
        queries = [
            made.MetricDataQueryProperty(
                id=name,
                return_data=False,
                metric_stat=made.MetricStatProperty(
                    metric=made.MetricProperty(namespace=namespace, metric_name=metric, dimensions=dimensions),
                    period=alarm.period_s,
                    stat=alarm.statistic,
                ),
            )
            for name, metric in (alarm.inputs or {}).items()
        ]
        result = made.MetricDataQueryProperty(id="result", expression=alarm.expression, return_data=True)
        measured: dict[str, Any] = {"metrics": [*queries, result]}
    else:
        percentile = alarm.statistic.startswith("p")
        measured = {
            "namespace": namespace,
            "metric_name": alarm.metric,
            "dimensions": dimensions,
            "extended_statistic" if percentile else "statistic": alarm.statistic,
            "period": alarm.period_s,
        }
    made(
        site.stack,
        alarm.logical,
        alarm_description=alarm.description,
        **measured,
        evaluation_periods=alarm.periods,
        threshold=alarm.threshold,
        comparison_operator=alarm.comparison,
        treat_missing_data=alarm.missing,
        # Before the first setup and during upgrades nothing runs, which is no reason for an alarm.
        actions_enabled=cdk.Fn.condition_if(site.running, True, False),  # noqa: FBT003  # CloudFormation's own function
        alarm_actions=[topic.ref],
        ok_actions=[topic.ref],
    )
