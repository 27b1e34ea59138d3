"""Starts workers and control planes when there is work, and lets them leave when there is none.

1. Decide the counts by the work of this moment, and commit them (`catalog.scaling`).
2. Give them to the services: the control plane is the first to come and the last to leave.
3. After stopping any: read the counts again, and give the services what was decided since.

Whoever adds work commits it, then ensures (steps 1 and 2). If that decision comes before step 3 of one who stops
workers, step 3 sees it; if it comes later, so does its step 2. If both die in between, or the service cannot be
reached, the count stays due: the next one who ensures or follows gives it.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from schemas.errors import MusterError, RetriableError
from segmentation.scaling import Limits, Range, Scaled, Wanted

if TYPE_CHECKING:
    from orchestration.platform.settings import Settings

MINUTE_MS: Final = 60_000

_log: Final = logging.getLogger(__name__)


def limits_of(settings: "Settings") -> Limits:
    """The limits of a deployment. `AS_MANY` as the fewest fixes a count."""

    def within(least: int, most: int) -> Range:
        most = min(most, settings.partitions)
        return Range(least=most if least < 0 else min(least, most), most=most)

    return Limits(
        workers=within(settings.min_workers, settings.workers),
        segment_workers=within(settings.min_segment_workers, settings.segment_workers),
        idle_ms=int(settings.idle_minutes * MINUTE_MS),
    )


class Decisions(Protocol):
    """`catalog.scaling.ScalingStore`."""

    def decide(
        self, limits: Limits, *, lag: int | None = None, activity_lag: int | None = None, now_ms: int
    ) -> dict[Scaled, Wanted]:
        """Decide and commit. Returns the parts whose service may not have its count yet."""
        ...

    def wanted(self) -> dict[Scaled, Wanted]:
        """The counts as last decided."""
        ...

    def applied(self, counts: Mapping[Scaled, int], *, now_ms: int) -> None:
        """Record counts that services were given."""
        ...


class Services(Protocol):
    """`workflow.services.ScaledServices`."""

    def set_count(self, part: Scaled, count: int) -> None:
        """Let a service have so many processes."""
        ...


class Scaler:
    """Counts of one deployment. With `limits` that fix them it does nothing."""

    def __init__(self, decisions: Decisions, services: Services, limits: Limits) -> None:
        self._decisions = decisions
        self._services = services
        self._limits = limits

    @property
    def fixed(self) -> bool:
        """Whether it does nothing."""
        return self._limits.fixed

    def none_wanted(self) -> bool:
        """Whether no import worker has to run now. False if that cannot be said."""
        if self._limits.workers.least:
            return False
        try:
            return self._decisions.wanted().get(Scaled.WORKER, Wanted()).count == 0
        except RetriableError:
            return False

    def ensure(self, now_ms: int) -> None:
        """Start what the committed work needs; stop nothing. Never raises: whoever added the work goes on.

        Work whose workers could not be started is found by the watcher, and by the wait of its job.
        """
        if self._limits.fixed:
            return
        try:
            self._apply(self._decisions.decide(self._limits, now_ms=now_ms), now_ms)
        except MusterError as exc:
            _log.error("cannot start workers, which is tried again later: %s", exc)
        except Exception:  # noqa: BLE001  # the work is committed: no fault here may undo it
            _log.exception("cannot start workers, which is tried again later")

    def follow(self, *, lag: int | None, activity_lag: int | None, now_ms: int) -> None:
        """Start and stop what the work needs, knowing the lag of both groups; with one unknown, stop nothing.

        Raises `RetriableError` CATALOG_UNAVAILABLE, ENGINE_UNAVAILABLE and `FatalError` ENGINE_REFUSED; what was not
        done is done at the next call.
        """
        if self._limits.fixed:
            return
        due = self._decisions.decide(self._limits, lag=lag, activity_lag=activity_lag, now_ms=now_ms)
        while due:
            self._apply(due, now_ms)
            later = self._decisions.wanted()  # 3
            due = {part: later[part] for part, given in due.items() if later[part].count != given.count}

    def _apply(self, due: Mapping[Scaled, Wanted], now_ms: int) -> None:
        """Step 2."""
        coming = sorted((part for part in due if due[part].count), key=lambda part: part is not Scaled.RELAY)
        leaving = sorted((part for part in due if not due[part].count), key=lambda part: part is Scaled.RELAY)
        for part in (*coming, *leaving):
            self._services.set_count(part, due[part].count)
            self._decisions.applied({part: due[part].count}, now_ms=now_ms)
            _log.info("%s: %d wanted", part, due[part].count)
