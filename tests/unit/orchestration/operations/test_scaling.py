"""Two who decide at once, in every order, and with every death between two steps."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from orchestration.catalog.scaling import Decision
from orchestration.operations.scaling import AGAIN_MS, SOON_MS, Scaler, limits_of
from orchestration.platform.settings import Settings
from schemas.errors import RetriableError
from segmentation.scaling import Demand, GroupDemand, Limits, Range, Scaled, Wanted, desired

IDLE_MS = 600_000
LATER = 10 * IDLE_MS
ON_DEMAND = Limits(workers=Range(least=0, most=4), segment_workers=Range(least=0, most=4), idle_ms=IDLE_MS)


class DeadError(BaseException):
    """The process was killed here."""


def _nothing(step: int) -> None:
    del step


@dataclass
class World:
    """A catalog and the services. `before_step` runs before each step, with its number."""

    jobs: int = 0
    rows: dict[Scaled, Wanted] = field(default_factory=dict)
    due: set[Scaled] = field(default_factory=set)
    services: dict[Scaled, int] = field(default_factory=lambda: dict.fromkeys(Scaled, 0))
    calls: list[tuple[Scaled, int]] = field(default_factory=list)
    next_due: list[int] = field(default_factory=list)
    """Answers about what is due next; the last one stays."""
    next_calls: list[int] = field(default_factory=list)
    refuses: bool = False
    before_step: Callable[[int], None] = _nothing
    steps: int = 0

    def _step(self) -> None:
        self.steps += 1
        self.before_step(self.steps)

    def decide(
        self, limits: Limits, *, lag: int | None = None, activity_lag: int | None = None, other: int = 0, now_ms: int
    ) -> Decision:
        self._step()
        work = GroupDemand(jobs=self.jobs, lag=lag)
        demand = Demand(imports=work, activity=GroupDemand(lag=activity_lag), other=other)
        after = desired(demand, self.rows, limits, now_ms)
        self.due |= {part for part in after if part not in self.rows or self.rows[part].count != after[part].count}
        self.rows = after
        return Decision(wanted=after, due=frozenset(self.due))

    def wanted(self) -> dict[Scaled, Wanted]:
        self._step()
        return dict(self.rows)

    def applied(self, counts: Mapping[Scaled, int], *, now_ms: int) -> None:
        del now_ms
        self._step()
        self.due -= {part for part, count in counts.items() if self.rows[part].count == count}

    def hold_segment_workers(self, until_ms: int) -> None:
        raise AssertionError(until_ms)

    def next_due_ms(self) -> int | None:
        return self.next_due.pop(0) if len(self.next_due) > 1 else next(iter(self.next_due), None)

    def set(self, at_ms: int, *, now_ms: int) -> None:
        del now_ms
        self.next_calls.append(at_ms)

    def set_count(self, part: Scaled, count: int) -> None:
        self._step()
        if self.refuses:
            raise RetriableError("ENGINE_UNAVAILABLE", "not now")
        self.services[part] = count
        self.calls.append((part, count))


def scaler(world: World, limits: Limits = ON_DEMAND) -> Scaler:
    return Scaler(world, world, world, limits)


def served(world: World) -> bool:
    return world.services[Scaled.WORKER] > 0 and world.services[Scaled.RELAY] > 0


def worked(jobs: int = 1) -> World:
    """A deployment whose workers run, and whose work was done long ago."""
    world = World(jobs=jobs)
    scaler(world).ensure(1)
    assert served(world)
    world.jobs = 0
    world.calls.clear()
    world.steps = 0
    return world


def arrive(world: World) -> None:
    """A file: its job is committed, then workers are ensured."""
    world.jobs = 1
    scaler(world).ensure(LATER)


def leave(world: World) -> None:
    scaler(world).follow(lag=0, activity_lag=0, now_ms=LATER)


def at_step(number: int, act: Callable[[], None]) -> Callable[[int], None]:
    """Act once, before a step of someone else."""
    pending = [act]

    def before(step: int) -> None:
        if step >= number and pending:
            pending.pop()()

    return before


def test_control_plane_comes_first_and_leaves_last() -> None:
    world = World()
    arrive(world)
    assert [call for call in world.calls if call[1]] == [(Scaled.RELAY, 1), (Scaled.WORKER, 1)]
    world.jobs = 0
    world.calls.clear()
    scaler(world).follow(lag=0, activity_lag=0, now_ms=LATER + IDLE_MS)
    assert sorted(world.calls[:3]) == [(Scaled.FEEDER, 0), (Scaled.SEGMENT_WORKER, 0), (Scaled.WORKER, 0)]
    assert world.calls[3:] == [(Scaled.RELAY, 0)]


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(workers=3, segment_workers=0),
        Settings(workers=0, segment_workers=0),
        Settings(workers=2, min_workers=2, min_segment_workers=1),
        Settings(workers=2, min_workers=9, min_segment_workers=9),
        Settings(workers=9, partitions=8, min_workers=8),
    ],
)
def test_fixed_counts_ask_nobody(settings: Settings) -> None:
    world = World(before_step=lambda _: pytest.fail("asked"))
    scaler(world, limits_of(settings)).ensure(1)
    scaler(world, limits_of(settings)).follow(lag=0, activity_lag=0, now_ms=LATER)


def test_limits_are_those_of_the_settings() -> None:
    settings = Settings(workers=9, min_workers=0, segment_workers=2, partitions=8, idle_minutes=0.5)
    assert limits_of(settings) == Limits(
        workers=Range(least=0, most=8), segment_workers=Range(least=2, most=2), idle_ms=30_000
    )
    assert limits_of(settings).control_planes == Range(least=1, most=1)
    assert limits_of(settings.with_(min_segment_workers=0)).control_planes == Range(least=0, most=1)


def test_no_worker_is_wanted_before_and_after_the_work_of_a_deployment_on_demand() -> None:
    world = World()
    assert scaler(world).none_wanted()
    arrive(world)
    assert not scaler(world).none_wanted()
    world.jobs = 0
    scaler(world).follow(lag=0, activity_lag=0, now_ms=LATER + IDLE_MS)
    assert scaler(world).none_wanted()
    assert not scaler(World(), limits_of(Settings())).none_wanted()


def test_ensuring_never_raises() -> None:
    def broken(step: int) -> None:
        raise ZeroDivisionError(step)

    scaler(World(before_step=broken)).ensure(1)


def test_applied_count_is_not_applied_again() -> None:
    world = worked()
    arrive(world)
    assert world.calls == []


@pytest.mark.parametrize("step", range(1, 9))
def test_file_that_arrives_while_workers_leave_is_served(step: int) -> None:
    world = worked()
    world.before_step = at_step(step, lambda: arrive(world))
    leave(world)
    world.before_step(99)  # after it has left, if it took fewer steps
    assert served(world)


@pytest.mark.parametrize("step", range(1, 9))
def test_workers_that_leave_while_a_file_arrives_serve_it(step: int) -> None:
    world = worked()
    leave(world)
    world.rows |= worked().rows  # as if another control plane had just started them again
    world.services |= {Scaled.WORKER: 1, Scaled.RELAY: 1}
    world.steps = 0
    world.before_step = at_step(step, lambda: leave(world))
    arrive(world)
    world.before_step(99)
    assert served(world)


@pytest.mark.parametrize("step", range(1, 9))
@pytest.mark.parametrize("dies", ["arriving", "leaving"])
def test_death_between_two_steps_is_made_good_by_the_next_call(dies: str, step: int) -> None:
    world = worked()

    def die() -> None:
        raise DeadError

    world.before_step = at_step(step, die)
    with contextlib.suppress(DeadError):
        (arrive if dies == "arriving" else leave)(world)
    world.before_step = _nothing
    arrive(world)
    assert served(world)


def test_service_that_cannot_be_reached_fails_no_job_and_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    world = World(refuses=True)
    arrive(world)
    assert "cannot start workers" in caplog.text
    assert not served(world)
    world.refuses = False
    scaler(world).ensure(LATER + 1)
    assert served(world)


def test_those_who_leave_let_somebody_look_a_minute_later() -> None:
    world = worked()
    world.next_due = [LATER + 10 * AGAIN_MS]
    leave(world)
    assert world.next_calls == [LATER + AGAIN_MS]
    world.rows, world.services = worked().rows, worked().services
    world.next_due = [LATER + AGAIN_MS // 2]
    leave(world)
    assert world.next_calls[1:] == [LATER + AGAIN_MS // 2]


def test_nobody_leaves_whose_call_cannot_be_scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    world = worked()

    def refuse(_: int, *, now_ms: int) -> None:
        del now_ms
        raise RetriableError("ENGINE_UNAVAILABLE", "not now")

    monkeypatch.setattr(world, "set", refuse)
    with pytest.raises(RetriableError):
        leave(world)
    assert served(world)


def test_without_a_control_plane_a_call_is_scheduled_for_what_falls_due() -> None:
    world = World(next_due=[LATER + 5 * AGAIN_MS, LATER + 5 * AGAIN_MS])
    scaler(world).ensure(LATER)
    assert world.next_calls == [LATER + 5 * AGAIN_MS]
    overdue = World(next_due=[LATER - 1])
    scaler(overdue).ensure(LATER)
    assert overdue.next_calls == [LATER + SOON_MS]
    busy = World(jobs=1, next_due=[LATER + 5 * AGAIN_MS])
    scaler(busy).ensure(LATER)
    assert busy.next_calls == [], "the control plane sees to it"


def test_call_is_set_again_for_a_schedule_that_was_edited_meanwhile() -> None:
    world = World(next_due=[LATER + 5 * AGAIN_MS, LATER + 2 * AGAIN_MS])
    scaler(world).ensure(LATER)
    assert world.next_calls == [LATER + 5 * AGAIN_MS, LATER + 2 * AGAIN_MS]


@pytest.mark.parametrize("ensure", ["ensure", "renew"])
def test_failure_to_ensure_is_tried_again_in_a_minute(ensure: str) -> None:
    world = World(jobs=1, refuses=True)
    with contextlib.suppress(RetriableError):
        getattr(scaler(world), ensure)(LATER)
    assert world.next_calls == [LATER + AGAIN_MS]


def test_counts_that_were_applied_are_given_again_to_absent_parts() -> None:
    world = worked()
    world.jobs = 1
    world.services[Scaled.WORKER] = 0  # by one who died before the second look
    scaler(world).ensure(2)
    assert not served(world), "the count counts as applied"
    scaler(world).renew(2, absent={Scaled.RELAY})
    assert not served(world)
    scaler(world).renew(2, absent={Scaled.WORKER})
    assert served(world)


def test_nobody_who_ensures_stops_a_service() -> None:
    """What was decided before may be outdated when the service hears of it, and nobody would look again."""
    world = worked()
    leave(world)
    world.calls.clear()
    world.due = set(Scaled)
    scaler(world).ensure(LATER)
    scaler(world).renew(LATER, lag=0, activity_lag=0)
    assert world.calls == []


def test_lag_alone_starts_workers_and_lets_none_fall() -> None:
    world = World()
    scaler(world).renew(LATER, lag=1)
    assert served(world)
    scaler(world).renew(LATER + 2 * IDLE_MS, lag=0, activity_lag=5)
    assert world.services == {**dict.fromkeys(Scaled, 1), Scaled.FEEDER: 0}


def test_housekeeping_starts_the_control_plane_alone() -> None:
    world = World()
    scaler(world).renew(LATER, housekeeping=True)
    assert world.services == {Scaled.WORKER: 0, Scaled.SEGMENT_WORKER: 0, Scaled.FEEDER: 0, Scaled.RELAY: 1}
