"""Schedules for EventBridge Scheduler, which on AWS does what `orchestration.relay.schedules` does elsewhere.

What both start, when, and what they do about a start that fails, is the same; a test holds the arguments against the
API's own model.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, Final

from orchestration.catalog.schedules import Schedule, ScheduleKind
from orchestration.steps.scheduled import event_of

MIN_AGE_S: Final = 60
MAX_AGE_S: Final = 86_400
MAX_RETRIES: Final = 185
"""The limits of a RetryPolicy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerArns:
    """The state machine of each kind, and the role that may start them."""

    state_machines: Mapping[ScheduleKind, str]
    role: str


def scheduler_entry(schedule: Schedule, arns: SchedulerArns) -> dict[str, Any]:
    """The arguments of CreateSchedule. A start is tried until the next one is due, as by the relay.

    Scheduler begins a rate when its entry is made, which is when the schedule is made.
    """
    return {
        "Name": f"muster-{schedule.schedule_id}",
        "Description": f"{schedule.kind} {schedule.name} of {schedule.tenant}",
        "ScheduleExpression": schedule.expression,
        "ScheduleExpressionTimezone": schedule.timezone,
        "State": "ENABLED" if schedule.enabled else "DISABLED",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": arns.state_machines[schedule.kind],
            "RoleArn": arns.role,
            "Input": json.dumps(event_of(schedule, None), sort_keys=True),
            "RetryPolicy": {
                "MaximumEventAgeInSeconds": _until_the_next_s(schedule),
                "MaximumRetryAttempts": MAX_RETRIES,
            },
        },
    }


def _until_the_next_s(schedule: Schedule) -> int:
    """The shortest pause between its next runs, within the limits."""
    times = list(islice(schedule.times.upcoming(schedule.created_at_ms), 100))
    pauses = [(later - earlier) // 1000 for earlier, later in pairwise(times)]
    return max(MIN_AGE_S, min([*pauses, MAX_AGE_S]))
