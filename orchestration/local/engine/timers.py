"""Calls of functions by time, which moto stores and does not make: rules with a rate, schedules with one time."""

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from orchestration.local.engine.moto_parts import module
from orchestration.platform.settings import Settings

POLL_S: Final = 0.5
RETRY_S: Final = 5.0
"""After a call that could not begin, as at most `function_calls` run; at AWS it waits in the queue of the function."""
_RATE: Final = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_AT: Final = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_SECONDS: Final = {"minute": 60, "hour": 3600, "day": 86_400}

log = logging.getLogger("muster.engine.timers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A rule or a schedule. `every_s`: None for a single call at `at_s`, in seconds since 1970."""

    name: str
    function_arn: str
    event: str
    every_s: float | None = None
    at_s: float = 0


def stored_timers(settings: Settings) -> Iterator[Timer]:
    """The timers that are enabled; expressions of other kinds and times already past when they were set included."""
    where = settings.account_id, settings.aws_region
    events = module("moto.events.models").events_backends[where[0]][where[1]]
    for rule in list(events.event_buses["default"].rules.values()):
        rate = _RATE.fullmatch(rule.scheduled_expression or "")
        if rate is None or rule.state != "ENABLED":
            continue
        for target in list(rule.targets):
            yield Timer(
                name=rule.name,
                function_arn=target["Arn"],
                event=target.get("Input", "{}"),
                every_s=int(rate[1]) * _SECONDS[rate[2]],
            )
    groups = module("moto.scheduler.models").scheduler_backends[where[0]][where[1]].schedule_groups
    for schedule in list(groups["default"].schedules.values()):
        at = _AT.fullmatch(schedule.schedule_expression)
        if at is not None and schedule.state == "ENABLED":
            yield Timer(
                name=schedule.name,
                function_arn=schedule.target["Arn"],
                event=schedule.target.get("Input", "{}"),
                at_s=datetime.fromisoformat(at[1]).replace(tzinfo=UTC).timestamp(),
            )


class Timers:
    """Makes the calls, each in a thread. A rule whose last call still runs misses its turn; at AWS both would run."""

    def __init__(
        self,
        stored: Callable[[], Iterator[Timer]],
        call: Callable[[Timer], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stored = stored
        self._call = call
        self._clock = clock
        self._next_s: dict[str, float] = {}
        self._made: dict[str, float] = {}
        self._running: set[str] = set()

    def run(self, stop: threading.Event) -> None:
        """Until it is stopped."""
        while not stop.wait(POLL_S):
            for timer in self.due():
                threading.Thread(target=self.make, args=(timer,), name=timer.name, daemon=True).start()

    def due(self) -> list[Timer]:
        """The timers to call now. Each is due once: a rate after each interval, beginning with the first."""
        now, found = self._clock(), []
        for timer in self._stored():
            if timer.every_s is None:
                due = timer.at_s <= now and self._made.get(timer.name) != timer.at_s
            else:
                due = now >= self._next_s.setdefault(timer.name, now + timer.every_s)
            if not due:
                continue
            if timer.every_s is None:
                self._made[timer.name] = timer.at_s
            else:
                self._next_s[timer.name] = now + timer.every_s
            if timer.name not in self._running or timer.every_s is None:
                self._running.add(timer.name)
                found.append(timer)
        return found

    def make(self, timer: Timer) -> None:
        """Make a call. One that cannot begin is made a little later."""
        try:
            while True:
                try:
                    self._call(timer)
                except Exception as exc:  # noqa: BLE001  # refused, or the function is gone
                    log.warning("%s is called later: %s", timer.name, exc)
                    time.sleep(RETRY_S)
                else:
                    return
        finally:
            self._running.discard(timer.name)


def call_function(settings: Settings, timer: Timer) -> None:
    """Call the function of a timer; what it raises is logged by Lambda. Raises moto's error for one that is refused."""
    backend: Any = module("moto.awslambda.models").lambda_backends[settings.account_id][settings.aws_region]
    answer: Mapping[str, str] = {}
    backend.get_function(timer.function_arn).invoke(json.dumps(json.loads(timer.event)), {}, answer)
