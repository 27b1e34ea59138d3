"""Starts workers and control planes when there is work, and lets them leave when there is none.

1. Decide the counts by the work of this moment, and commit them (`catalog.scaling`).
2. Before the control plane is stopped: let `EnsureWorkers` be called a minute later.
3. Give the counts to the services: the control plane is the first to come and the last to leave.
4. After stopping any: read the counts again, and give the services what was decided since.

Whoever adds work commits it, then ensures (steps 1 and 3, without stopping anything). If that decision comes before
step 4 of one who stops workers, step 4 sees it; if it comes later, so does its step 3. If both die in between, or the
service cannot be reached, the call of step 2 gives the counts again, whatever is recorded as applied; so does the
watcher of a minute (`watching`) for work that Kafka or Step Functions show.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from schemas.errors import MusterError, RetriableError
from segmentation.scaling import Limits, Range, Scaled, Wanted

if TYPE_CHECKING:
    from orchestration.catalog.scaling import Decision
    from orchestration.platform.settings import Settings

MINUTE_MS: Final = 60_000
AGAIN_MS: Final = MINUTE_MS
"""After this time `EnsureWorkers` looks whether those who left should have stayed, and tries again what has failed."""
HOLD_MS: Final = 10 * MINUTE_MS
"""Longer than anything takes for which segment workers are stopped."""
SOON_MS: Final = 10_000
"""No call is scheduled earlier than after this time: EventBridge Scheduler never makes one that lies in the past."""

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
        self, limits: Limits, *, lag: int | None = None, activity_lag: int | None = None, other: int = 0, now_ms: int
    ) -> "Decision":
        """Decide all counts and commit them."""
        ...

    def wanted(self) -> dict[Scaled, Wanted]:
        """The counts as last decided."""
        ...

    def applied(self, counts: Mapping[Scaled, int], *, now_ms: int) -> None:
        """Record counts that services were given."""
        ...

    def hold_segment_workers(self, until_ms: int) -> None:
        """Want no segment worker until then."""
        ...

    def next_due_ms(self) -> int | None:
        """When a schedule or a notification is due next."""
        ...


class Services(Protocol):
    """`workflow.services.ScaledServices`."""

    def set_count(self, part: Scaled, count: int) -> None:
        """Let a service have so many processes."""
        ...


class NextCall(Protocol):
    """`workflow.timers.NextCall`."""

    def set(self, at_ms: int, *, now_ms: int) -> None:
        """Let `EnsureWorkers` be called then, or at an earlier time to come that is set."""
        ...


class Scaler:
    """Counts of one deployment. With `limits` that fix them it does nothing."""

    def __init__(self, decisions: Decisions, services: Services, next_call: NextCall, limits: Limits) -> None:
        self._decisions = decisions
        self._services = services
        self._next_call = next_call
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

        What fails is tried again in a minute.
        """
        if self._limits.fixed:
            return
        try:
            self._start(self._decisions.decide(self._limits, now_ms=now_ms), now_ms)
        except MusterError as exc:
            _log.error("cannot start workers, which is tried again later: %s", exc)
            self._call_again(now_ms)
        except Exception:  # noqa: BLE001  # the work is committed: no fault here may undo it
            _log.exception("cannot start workers, which is tried again later")
            self._call_again(now_ms)

    def renew(
        self,
        now_ms: int,
        *,
        lag: int | None = None,
        activity_lag: int | None = None,
        absent: Collection[Scaled] = tuple(Scaled),
        housekeeping: bool = False,
    ) -> None:
        """As `ensure`, and give the parts in `absent` their counts again, whatever is recorded as applied.

        `housekeeping`: the control plane comes for its idle time. Raises as `follow`; what fails is tried again in a
        minute.
        """
        if self._limits.fixed:
            return
        try:
            # A lag of zero says nothing about what is to come: with None no count falls.
            lags = {"lag": lag or None, "activity_lag": activity_lag or None}
            decision = self._decisions.decide(self._limits, **lags, other=int(housekeeping), now_ms=now_ms)
            self._start(decision, now_ms, again=absent)
        except MusterError:
            self._call_again(now_ms)
            raise

    def follow(self, *, lag: int | None, activity_lag: int | None, now_ms: int) -> None:
        """Start and stop what the work needs, knowing the lag of both groups; with one unknown, stop nothing.

        Raises `RetriableError` CATALOG_UNAVAILABLE, ENGINE_UNAVAILABLE and `FatalError` ENGINE_REFUSED; what was not
        done is done at the next call.
        """
        if self._limits.fixed:
            return
        decision = self._decisions.decide(self._limits, lag=lag, activity_lag=activity_lag, now_ms=now_ms)
        due = decision.of(decision.due)
        while due:
            if due.get(Scaled.RELAY) == 0:
                self._schedule(now_ms, now_ms + AGAIN_MS)  # 2
            self._apply(due, now_ms)
            later = self._decisions.wanted()  # 4
            due = {part: later[part].count for part, given in due.items() if later[part].count != given}

    @contextmanager
    def without_segment_workers(self, clock: Callable[[], int]) -> Iterator[None]:
        """Stop segment workers for the block, whatever the work, and start afterwards what it needs.

        If this process dies, they stay away for `HOLD_MS`. Raises as `follow`. Fixed counts are not changed.
        """
        if self._limits.fixed:
            yield
            return
        now_ms = clock()
        self._decisions.hold_segment_workers(now_ms + HOLD_MS)
        try:
            self.follow(lag=None, activity_lag=None, now_ms=now_ms)
            yield
        finally:
            self._decisions.hold_segment_workers(0)
            self.ensure(clock())

    def _start(self, decision: "Decision", now_ms: int, again: Iterable[Scaled] = ()) -> None:
        """Steps 1 and 3 of those who stop nothing: a count of none that was decided before may be outdated by now.

        Without a control plane nobody sees what falls due, so a call is scheduled for it.
        """
        counts = decision.of(decision.due.union(again))
        self._apply({part: count for part, count in counts.items() if count}, now_ms)
        if not decision.wanted[Scaled.RELAY].count:
            self._schedule(now_ms)

    def _apply(self, counts: Mapping[Scaled, int], now_ms: int) -> None:
        """Step 3."""
        coming = sorted((part for part in counts if counts[part]), key=lambda part: part is not Scaled.RELAY)
        leaving = sorted((part for part in counts if not counts[part]), key=lambda part: part is Scaled.RELAY)
        for part in (*coming, *leaving):
            self._services.set_count(part, counts[part])
            self._decisions.applied({part: counts[part]}, now_ms=now_ms)
            _log.info("%s: %d wanted", part, counts[part])

    def _schedule(self, now_ms: int, latest_ms: int | None = None) -> None:
        """Set the next call to when something is due, at the latest to `latest_ms`.

        Reads again after the call is set: of two who set it, the later one has seen the change of the other.
        """
        before = None
        while (at_ms := self._next_call_ms(now_ms, latest_ms)) not in {None, before}:
            self._next_call.set(at_ms, now_ms=now_ms)
            before = at_ms

    def _next_call_ms(self, now_ms: int, latest_ms: int | None) -> int | None:
        times = [at_ms for at_ms in (self._decisions.next_due_ms(), latest_ms) if at_ms is not None]
        return max(min(times), now_ms + SOON_MS) if times else None

    def _call_again(self, now_ms: int) -> None:
        try:
            self._next_call.set(now_ms + AGAIN_MS, now_ms=now_ms)
        except Exception as exc:  # noqa: BLE001  # the watcher of a minute and the hourly call are left
            _log.error("cannot schedule another try: %s", exc)
