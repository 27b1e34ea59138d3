"""All that receives a feed has the members, whatever dies meanwhile. `python -m tests.faults.feeds` runs at length."""

import pytest

from tests.faults.feeds import soak


@pytest.mark.faults("five faults, one after the other, each until all receivers are equal again", seconds=110)
@pytest.mark.integration
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("first", [0, 5])
def test_receivers_of_feeds_have_the_members_after_each_fault(first: int) -> None:
    assert soak(range(first, first + 5), report=print) == []
