"""Tenants that share places: none holds all of them while another waits."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestration.readers.shares import IN_RESERVE, may_take, next_to_work
from schemas.ids import JobId
from segmentation.admission import Ticket
from tests.examples import examples

TENANTS = ("acme", "beta", "crm")


def test_single_tenant_gets_half_of_the_slots() -> None:
    held = Counter[str]()
    for tenant in ("acme", "beta", "crm", "dora", "emil"):
        while may_take(tenant, held, 18):
            held[tenant] += 1
    assert held == {"acme": 9, "beta": 5, "crm": 2, "dora": 1, "emil": 1}


@given(st.integers(1, 40), st.lists(st.tuples(st.sampled_from(TENANTS), st.booleans())))
@examples(200)
def test_tenant_without_a_slot_gets_one_unless_others_hold_all(places: int, steps: list[tuple[str, bool]]) -> None:
    held = Counter[str]()
    for tenant, takes in steps:
        if takes and may_take(tenant, held, places):
            held[tenant] += 1
            free = places - held.total()
            assert free >= held[tenant] - 1  # it has left as many as it held before
        elif not takes and held[tenant]:
            held[tenant] -= 1
        free = places - held.total()
        assert free >= 0
        for one in TENANTS:
            assert may_take(one, held, places) or held[one] or not free


@given(
    st.integers(1, 4),
    st.lists(st.one_of(st.sampled_from(TENANTS), st.integers(0, 9)), max_size=40),
)
@examples(200)
def test_workers_are_shared_without_idling(usual: int, steps: list[str | int]) -> None:
    """A text is a question of that tenant; a number ends one that is at work."""
    waiting: list[Ticket] = []
    working: list[Ticket] = []
    for number, step in enumerate(steps):
        if isinstance(step, str):
            waiting.append(Ticket(job_id=JobId(f"{number:03d}"), tenant=step, small=False))
        elif working:
            working.pop(step % len(working))
        begun = set(next_to_work(waiting, working, usual))
        working += [one for one in waiting if one.job_id in begun]
        waiting = [one for one in waiting if one.job_id not in begun]
        at_work = Counter(one.tenant for one in working)
        assert len(working) <= usual + IN_RESERVE
        assert max(at_work.values(), default=0) <= usual
        for one in waiting:
            others = at_work.total() - at_work[one.tenant]
            assert at_work[one.tenant] == usual or (at_work.total() == usual + IN_RESERVE and others)
