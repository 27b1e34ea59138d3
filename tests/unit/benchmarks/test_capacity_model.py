from dataclasses import replace

import pytest

from benchmarks.capacity_model import imports_a_day, kafka_disk_gb, materialised_s, reading, threshold
from benchmarks.idle_month import Idle, idle_lines
from orchestration.quoting.deployment import Resources
from tests.unit.orchestration.quoting.figures import FREE, RATES, deployed, prices

M = 1_000_000


def test_workers_process_imports_sequentially_all_day() -> None:
    d = deployed(workers=2, partitions=8)
    assert materialised_s(100 * M, d, RATES) == pytest.approx(400.0)  # 8 us, two workers
    assert imports_a_day(100 * M, d, RATES) == pytest.approx(216.0)
    # eight of them work
    assert imports_a_day(100 * M, deployed(workers=16, partitions=8), RATES) == pytest.approx(864.0)


def test_brokers_store_sent_bytes_in_all_replicas() -> None:
    assert kafka_disk_gb(100 * M, 7, deployed(), RATES) == pytest.approx(42.0)  # 20 bytes, three replicas
    assert kafka_disk_gb(100 * M, 7, deployed(replication_factor=4), RATES) == pytest.approx(56.0)


def test_task_is_cheaper_beyond_its_start_cost() -> None:
    """A function costs 4 a second for 2 GB, a task 1 for its core. Both stages have the same pace in either.

    Nothing delays them: verify takes 2 us of processor time (a core), import 2. A function costs
    4 x (5 + 5 + rows x (2 / 1.158 + 2) us), a task 60 + 60 + rows x 4 us.
    """
    d = replace(deployed(workers=8), task=Resources(vcpu=1, gb=0, disk_gb=20))
    priced = prices(function_gb_second=2.0, task_vcpu_hour=3600.0)
    found = threshold(d, RATES, priced)
    a_row = 4 * (2 * 1769 / 2048 + 2) - (2 + 2)
    assert found.break_even_rows == pytest.approx((120 - 40) / a_row * 1e6, rel=1e-6)
    even = found.break_even_rows
    assert even is not None
    for rows, dearer in ((even - 1000, False), (even + 1000, True)):
        function, task = (
            sum(stage.usd.total for stage in reading(rows, place, d, RATES, priced)) for place in ("function", "task")
        )
        assert (function > task) is dearer


def test_function_capacity_in_fifteen_minutes_with_and_without_prices() -> None:
    found = threshold(deployed(workers=1), RATES, FREE)
    assert found.break_even_rows is None
    assert found.function_rows is not None
    assert found.function_rows == pytest.approx(895 / 8e-6 + 40_960_000, rel=1e-6)  # 8 us a row, less the backlog


def test_idle_month_costs_workers_and_given_resources() -> None:
    idle = Idle(worker=Resources(vcpu=2, gb=4, disk_gb=20), workers=3, relays=1, nats=2, keys=0)
    lines = {line.what: line for line in idle_lines(idle, prices(task_vcpu_hour=1.0, nat_hour=0.5))}
    assert lines["workers that materialise imports"].usd_month == pytest.approx(3 * 2 * 730)
    assert lines["relay"].usd_month == pytest.approx(0.5 * 730)
    assert lines["NAT gateways"].usd_month == pytest.approx(2 * 0.5 * 730)
    assert not lines["NAT gateways"].ours
    assert lines["functions, state machines, rule, task definitions"].usd_month == 0
    assert "workers of segments" not in lines
    assert "key that encrypts" not in lines
