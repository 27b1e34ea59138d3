"""A slice of the crash sweep: faulted imports on one stack. `python -m tests.faults --scale full` runs all."""

import os

import pytest

from tests.conftest import unavailable
from tests.faults.kinds import KINDS
from tests.faults.sweep import SLICE, plan, sweep
from tests.servers.postgres import installed


@pytest.mark.faults("21 imports, one after the other; each slice of CI has faulted imports of its own", seconds=350)
@pytest.mark.integration
@pytest.mark.timeout(1500)
def test_faulted_imports_publish_all_or_nothing_and_readers_see_no_mix() -> None:
    missing = {name: why for name in SLICE if (why := KINDS[name].impossible(postgres=installed()))}
    if missing and os.environ.get("CI"):
        unavailable("; ".join(sorted(set(missing.values()))))
    possible = [name for name in SLICE if name not in missing]
    done = sweep(plan("slice"))
    assert done.wrong == []
    assert [result.kind for result in done.results] == possible
    assert [result.kind for result in done.results if not result.struck] == []
    assert done.reads > len(SLICE)


def test_the_full_sweep_has_three_hundred_imports_and_every_kind_of_fault() -> None:
    faults = plan("full")
    assert len(faults) >= 300
    assert {planned.kind for planned in faults} == set(KINDS)
    assert len({planned.seed for planned in faults}) == len(faults)
