"""A burst on the whole stack while functions are throttled and PostgreSQL has few connections."""

from pathlib import Path

import pytest

from tests.faults.burst import burst, bursting_stack

pytestmark = pytest.mark.containers


@pytest.mark.timeout(900)
@pytest.mark.faults("two hundred imports with ten functions at once", seconds=240)
def test_throttled_burst_of_twenty_tenants_loses_no_file_and_keeps_turns(tmp_path: Path) -> None:
    with bursting_stack(tmp_path) as settings:
        done = burst(settings, 200, limit_s=800)
        assert done.wrong == []
