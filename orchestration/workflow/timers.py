"""Calls of functions by time, where the counts of workers follow the work: some at fixed rates, and a single one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from orchestration.workflow.engine import engine_errors
from orchestration.workflow.resources import CLUSTER

if TYPE_CHECKING:
    from orchestration.platform.settings import Settings

ENSURE: Final = "EnsureWorkers"
NEXT_CALL: Final = "next-call"
"""The schedule of EventBridge Scheduler with one `at(...)`, as the deployment's resource of that name. It is created
disabled, with its target and role; `NextCall` changes only its time and enables it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerSpec:
    """A rule of EventBridge that calls a function with a constant event."""

    name: str
    function: str
    expression: str
    event: Mapping[str, bool] = field(default_factory=dict)


TIMERS: Final = (
    TimerSpec(name="watch", function="WatchWorkers", expression="rate(1 minute)"),
    TimerSpec(name="ensure", function=ENSURE, expression="rate(1 hour)"),
    TimerSpec(name="housekeeping", function=ENSURE, expression="rate(1 day)", event={"housekeeping": True}),
)
"""Rules of a deployment whose counts are not fixed; without them none of these functions is called."""


def resource(settings: "Settings", name: str) -> str:
    """The name of a rule or schedule of this deployment."""
    return f"{settings.deployment or CLUSTER}-{name}"


class NextCall:
    """The one scheduled call of `EnsureWorkers`.

    `connect` makes boto3's client, at first use: boto3 takes a third of a second to load.
    """

    def __init__(self, connect: "Callable[[], Any]", settings: "Settings") -> None:
        self._connect = connect
        self._name = resource(settings, NEXT_CALL)

    @cached_property
    def _client(self) -> Any:
        return self._connect()

    def set(self, at_ms: int, *, now_ms: int) -> None:
        """Let the function be called then, or at an earlier time to come that is set. AWS calls it within that minute.

        An earlier one may be that of somebody who leaves; calls too many do no harm.

        Raises `RetriableError` ENGINE_UNAVAILABLE and `FatalError` ENGINE_REFUSED.
        """
        with engine_errors("EventBridge Scheduler", "schedule a call"):
            client = self._client
            found = client.get_schedule(Name=self._name)
            if found["State"] == "ENABLED" and now_ms < _at_ms(found["ScheduleExpression"]) <= at_ms:
                return
            client.update_schedule(
                Name=self._name,
                ScheduleExpression=at_expression(at_ms),
                ScheduleExpressionTimezone="UTC",
                FlexibleTimeWindow=found["FlexibleTimeWindow"],
                Target=found["Target"],
                State="ENABLED",
            )


def at_expression(at_ms: int) -> str:
    """`at(...)` in UTC, in whole seconds, never earlier."""
    return f"at({datetime.fromtimestamp(-(-at_ms // 1000), UTC):%Y-%m-%dT%H:%M:%S})"


def _at_ms(expression: str) -> int:
    at = datetime.fromisoformat(expression.removeprefix("at(").removesuffix(")"))
    return int(at.replace(tzinfo=UTC).timestamp() * 1000)
