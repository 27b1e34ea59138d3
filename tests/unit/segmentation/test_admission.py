from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestration.platform.settings import Settings
from schemas.ids import JobId
from segmentation.admission import LaneLimit, Ticket, admitted, lanes_for, position

UNSET = Settings()
LANES = {True: LaneLimit(jobs=4, per_tenant=2), False: LaneLimit(jobs=2, per_tenant=1)}


def ticket(number: int, tenant: str, *, small: bool = True) -> Ticket:
    return Ticket(job_id=JobId(f"{number:026d}"), tenant=tenant, small=small)


def numbers(ids: list[JobId]) -> list[int]:
    return [int(job_id) for job_id in ids]


def test_tenant_with_the_fewest_running_jobs_starts_its_oldest_job() -> None:
    waiting = [ticket(5, "b"), ticket(2, "a"), ticket(3, "b"), ticket(4, "c")]
    running = [ticket(1, "a")]
    assert numbers(admitted(waiting, running, LANES)) == [3, 4, 2]


def test_busy_tenant_does_not_delay_another() -> None:
    waiting = [*(ticket(n, "many") for n in range(20)), ticket(99, "one")]
    assert numbers(admitted(waiting, [], LANES)) == [0, 99, 1]
    assert position(JobId(f"{99:026d}"), waiting, [ticket(100, "many")]) == 1


def test_single_tenant_gets_only_its_share() -> None:
    assert numbers(admitted([ticket(n, "a") for n in range(9)], [], LANES)) == [0, 1]


def test_small_file_does_not_wait_for_large_files() -> None:
    lanes = {small: LaneLimit(jobs=2, per_tenant=1) for small in (True, False)}
    running = [ticket(1, "a", small=False), ticket(2, "b", small=False)]
    waiting = [ticket(3, "c", small=False), ticket(4, "a")]
    assert numbers(admitted(waiting, running, lanes)) == [4]


def test_full_lane_admits_no_job() -> None:
    running = [ticket(n, f"t{n}") for n in range(4)]
    assert admitted([ticket(9, "new")], running, LANES) == []


def test_queue_position_counts_waiting_jobs_of_the_lane() -> None:
    waiting = [ticket(1, "a"), ticket(2, "a"), ticket(3, "b"), ticket(4, "c", small=False)]
    assert [position(t.job_id, waiting, []) for t in waiting] == [1, 3, 2, 1]
    assert position(JobId(f"{7:026d}"), waiting, [ticket(7, "a")]) is None


tickets = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=30).map(
    lambda found: [ticket(n, tenant, small=small) for n, (tenant, small) in enumerate(found)]
)


@given(tickets, st.data())
def test_admission_fills_all_slots_in_tenant_order_within_limits(jobs: list[Ticket], data: st.DataObject) -> None:
    waiting = data.draw(st.lists(st.sampled_from(jobs), unique=True) if jobs else st.just([]))
    begun = set(admitted(waiting, [], LANES))
    for small, limit in LANES.items():
        mine = [t for t in waiting if t.small is small]
        busy = Counter(t.tenant for t in mine if t.job_id in begun)
        assert busy.total() <= limit.jobs
        assert max(busy.values(), default=0) <= limit.per_tenant
        left = [t for t in mine if t.job_id not in begun]
        assert busy.total() == limit.jobs or all(busy[t.tenant] == limit.per_tenant for t in left)
        for t in left:
            assert all(o.job_id < t.job_id for o in mine if o.tenant == t.tenant and o.job_id in begun)


@given(tickets)
def test_every_queued_job_is_eventually_admitted(jobs: list[Ticket]) -> None:
    lanes = {True: LaneLimit(jobs=1, per_tenant=1), False: LaneLimit(jobs=1, per_tenant=1)}
    waiting, served = list(jobs), 0
    while waiting:
        begun = admitted(waiting, [], lanes)
        assert begun
        waiting = [t for t in waiting if t.job_id not in begun]
        served += len(begun)
    assert served == len(jobs)


@given(st.integers(1, 10_000), st.integers(1, 1000))
def test_lanes_grow_with_the_capacity_and_leave_half_to_others(calls: int, workers: int) -> None:
    lanes = lanes_for(UNSET, calls=calls, workers=workers)
    for small, limit in lanes.items():
        assert limit.per_tenant <= max(1, limit.jobs / 2)
        assert lanes_for(UNSET, calls=2 * calls, workers=2 * workers)[small].jobs >= limit.jobs >= 1
    assert lanes[True].jobs <= max(2, 2 * calls)


def test_one_worker_and_eight_calls_run_sixteen_small_and_four_large_jobs() -> None:
    assert lanes_for(UNSET, calls=8, workers=1) == {
        True: LaneLimit(jobs=16, per_tenant=8),
        False: LaneLimit(jobs=4, per_tenant=2),
    }


def test_limits_that_are_set_hold_whatever_the_capacity() -> None:
    given = Settings(max_small_jobs=3, max_jobs_per_tenant=1)
    assert lanes_for(given, calls=8, workers=1) == {
        True: LaneLimit(jobs=3, per_tenant=8),
        False: LaneLimit(jobs=4, per_tenant=1),
    }
