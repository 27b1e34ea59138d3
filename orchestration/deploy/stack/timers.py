"""Calls by time, where workers come and go with the work: rules, and the one schedule whose time the product sets.

Another rule calls after each deployment: counts that the template does not give have to begin somewhere.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler

from orchestration.deploy.stack.site import SCHEDULER_ROLE, Grant, Service, Site, role
from orchestration.workflow.timers import ENSURE, NEXT_CALL, TIMERS

DEPLOYED: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
NEVER: Final = "at(2099-12-31T00:00:00)"
"""Until the product sets a time; the schedule is disabled till then."""
WATCH_AGE_S: Final = 60
"""A call of the watcher that comes later than the next one is of no use."""


def make_timers(site: Site, functions: Mapping[str, Any]) -> None:
    """Create rules and schedule, unless all counts are fixed."""
    if site.settings.limits.fixed:
        return
    for timer in TIMERS:
        description = f"Calls {timer.function}: {timer.expression}"
        _rule(site, timer.name, functions[timer.function], description, timer.event, schedule=timer.expression)
    pattern = {
        "source": ["aws.cloudformation"],
        "detail-type": ["CloudFormation Stack Status Change"],
        "detail": {"stack-id": [cdk.Aws.STACK_ID], "status-details": {"status": list(DEPLOYED)}},
    }
    _rule(site, "deployed", functions[ENSURE], "The stack was deployed", {}, pattern=pattern)
    lambda_.CfnEventInvokeConfig(
        site.stack,
        "WatchCalls",
        function_name=functions["WatchWorkers"].ref,
        qualifier="$LATEST",
        maximum_retry_attempts=0,
        maximum_event_age_in_seconds=WATCH_AGE_S,
    )
    _schedule(site, functions[ENSURE])


def _rule(site: Site, name: str, function: Any, description: str, event: Mapping[str, Any], **when: Any) -> None:
    logical = f"{name.capitalize()}Rule"
    rule = events.CfnRule(
        site.stack,
        logical,
        name=site.names.of(name),
        description=description,
        state=cdk.Fn.condition_if(site.running, "ENABLED", "DISABLED").to_string(),
        targets=[
            events.CfnRule.TargetProperty(
                id="Function", arn=function.attr_arn, input=json.dumps(event, separators=(",", ":"))
            )
        ],
        event_pattern=when.get("pattern"),
        schedule_expression=when.get("schedule"),
    )
    lambda_.CfnPermission(
        site.stack,
        f"{logical}Calls",
        action="lambda:InvokeFunction",
        function_name=function.ref,
        principal="events.amazonaws.com",
        source_arn=rule.attr_arn,
    )


def _schedule(site: Site, function: Any) -> None:
    """The product keeps target and role when it sets the time; an update of the stack changes it only if these do."""
    calls = role(
        site,
        SCHEDULER_ROLE,
        Service(principal="scheduler.amazonaws.com"),
        # By its name: the function's own role may pass this role, and would otherwise wait for it in a circle.
        [
            Grant(
                actions=("lambda:InvokeFunction",),
                resources=(site.settings.arn("lambda", f"function:{site.names.of(ENSURE)}"),),
            )
        ],
        "The schedule of the next call of EnsureWorkers",
    )
    schedule = scheduler.CfnSchedule
    schedule(
        site.stack,
        "NextCall",
        name=site.names.of(NEXT_CALL),
        description="Calls EnsureWorkers when a schedule or a notification is due",
        schedule_expression=NEVER,
        schedule_expression_timezone="UTC",
        state="DISABLED",
        flexible_time_window=schedule.FlexibleTimeWindowProperty(mode="OFF"),
        target=schedule.TargetProperty(arn=function.attr_arn, role_arn=calls.attr_arn, input="{}"),
    )
