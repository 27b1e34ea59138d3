"""Quotes compared with hand-calculated figures; the arithmetic is beside them."""

from dataclasses import replace

import pytest

from connectors.storage.reading import CONNECTIONS
from orchestration.quoting.quote import Quote, quote
from orchestration.quoting.stages import StageQuote
from orchestration.quoting.work import Work
from tests.unit.orchestration.quoting.figures import FREE, RATES, deployed, prices

M = 1_000_000
SMALL = Work(rows=1 * M, bytes=50 * M)
LARGE = Work(rows=100 * M, bytes=5_000 * M)


def by_stage(quoted: Quote) -> dict[str, StageQuote]:
    return {stage.stage: stage for stage in quoted.stages}


def seconds(quoted: Quote) -> dict[str, float]:
    return {stage.stage: stage.seconds for stage in quoted.stages}


def test_a_small_replace_runs_in_functions() -> None:
    quoted = quote(SMALL, deployed(), RATES, FREE)
    vcpu = 2048 / 1769
    assert {stage.stage: stage.where for stage in quoted.stages} == {
        "workflow": "functions",
        "verify": "function",
        "import": "function",
        "materialise": "workers",
        "publish": "function",
    }
    sending = 2 / min(vcpu, 1)  # 2 us of one core: a function has more than one
    assert seconds(quoted) == pytest.approx(
        {
            "workflow": 4.0,  # four small functions, a second each
            "verify": 5 + 2 / vcpu,  # 2 us of processor time on 1.16 vCPU; S3 would take 0.5 s
            "import": 5 + sending,  # the backlog of 1,024 x 5,000 x 8 rows holds all of them
            "materialise": 4 - sending,  # 8 us with two workers, partly overlapped by the import
            "publish": 5 + 1,
        }
    )


def test_large_replace_runs_in_tasks_limited_by_s3_and_workers() -> None:
    quoted = quote(LARGE, deployed(), RATES, FREE)
    busy = 100 * 8 / 2
    held = busy * (1 - 40.96 / 100)  # the import may be 40.96 M rows ahead
    assert seconds(quoted) == pytest.approx(
        {
            "workflow": 4.0 + 3,  # after each task a function reads its result
            "verify": 60 + 100,  # 100 s by processor time; S3 would take 6
            "import": 60 + held,
            "materialise": busy - held,
            "publish": 60 + 100,
        }
    )
    assert {stage.where for stage in quoted.stages} == {"functions", "task", "workers"}


def test_connections_to_s3_bound_the_reading_of_a_file_with_long_rows() -> None:
    fast = replace(RATES, verify=replace(RATES.verify, wall_us=0.01, cpu_us=0.01))
    assert by_stage(quote(LARGE, deployed(), fast, FREE))["verify"].seconds == pytest.approx(60 + 50 / CONNECTIONS)


def test_wide_rows_count_for_several() -> None:
    wide = Work(rows=10 * M, bytes=5_000 * M)  # 500 bytes a row, while 50 were measured
    assert by_stage(quote(wide, deployed(), RATES, FREE))["verify"].seconds == pytest.approx(60 + 100)
    assert quote(wide, deployed(), RATES, FREE).kafka_gb == pytest.approx(100 * M * 20 * 3 / 1e9)


def test_append_is_merged_with_its_base_if_any() -> None:
    append = Work(rows=1 * M, bytes=50 * M, mode="append", base_members=100 * M, members=101 * M)
    stages = by_stage(quote(append, deployed(), RATES, FREE))
    assert (stages["build"].where, stages["publish"].where) == ("task", "task")
    assert stages["build"].seconds == pytest.approx(60 + 4 * 101)
    assert stages["publish"].seconds == pytest.approx(60 + 101)
    assert stages["verify"].where == "function"
    assert "build" not in by_stage(quote(replace(append, base_members=0), deployed(), RATES, FREE))


def test_units_of_a_large_file_take_turns_in_functions() -> None:
    work = replace(LARGE, cut=True)
    divided = deployed(workers=8, unit_bytes=500 * M, lambda_file_bytes=2**40, units_at_once=4)
    stages = by_stage(quote(work, divided, RATES, prices(function_request=1.0, transition=1000.0)))
    vcpu = 2048 / 1769
    rounds = 3  # ten units of 10 M rows, four at once
    assert stages["verify"].seconds == pytest.approx(5 + 2 * 1 + rounds * 20 / vcpu)  # a start, and two more looks
    assert stages["verify"].longest_s == pytest.approx(5 + 20 / vcpu)
    assert (stages["verify"].runs, stages["verify"].at_once) == (10, 4)
    sending = rounds * 20  # 2 us a row; workers take 8 us / 8, less than that
    assert stages["import"].seconds == pytest.approx(5 + 2 * 1 + sending)
    held = 5 + 1 + 2 * 12.5 + 5  # eight groups of 12.5 M members, four at once, and the one that commits
    assert stages["publish"].seconds == pytest.approx(held)
    small = 4 + 2 + 2 + 1
    assert stages["workflow"].seconds == small
    states = 8 + 5 + 5 + 6 + 3 * (10 + 10 + 8)
    assert stages["workflow"].usd.requests == pytest.approx(small + 1000 * states)
    assert stages["verify"].usd.requests == 10


def test_workers_delay_the_units_of_a_large_file() -> None:
    work = replace(LARGE, cut=True)
    divided = deployed(unit_bytes=500 * M, lambda_file_bytes=2**40, units_at_once=4)
    stages = by_stage(quote(work, divided, RATES, prices(function_gb_second=0.5)))
    held = 400 * (1 - 40.96 / 100)  # as of one run: two workers take 8 us a row
    assert stages["import"].seconds == pytest.approx(5 + 2 * 1 + held)
    assert stages["import"].usd.compute == pytest.approx(4 * 5 + 6 * 1 + 4 * held)  # all four wait


def test_events_are_archived_and_leave_no_parts() -> None:
    quoted = quote(Work(rows=1 * M, bytes=50 * M, kind="events", mode="append"), deployed(), RATES, FREE)
    stages = by_stage(quoted)
    assert "build" not in stages
    assert stages["archive"].seconds == pytest.approx(0.0)  # 4 us with two workers, as long as sending takes
    assert (quoted.lake_gb, quoted.kafka_gb) == pytest.approx((0.0, 0.06))


def test_a_function_is_billed_by_the_second_and_its_memory() -> None:
    quoted = quote(SMALL, deployed(), RATES, prices(function_gb_second=1.0, function_request=100.0))
    stages = by_stage(quoted)
    assert (stages["publish"].usd.compute, stages["publish"].usd.requests) == pytest.approx((2 * 6.0, 100.0))
    assert (stages["workflow"].usd.compute, stages["workflow"].usd.requests) == pytest.approx((4 * 0.5, 400.0))


def test_function_disk_is_billed_beyond_the_free_tier() -> None:
    stages = by_stage(quote(SMALL, deployed(), RATES, prices(function_disk_gb_second=1.0)))
    assert stages["publish"].usd.compute == pytest.approx(0.75 * 6.0)  # 512 MiB and three times 256
    assert stages["workflow"].usd.compute == 0.0


def test_a_task_is_billed_from_its_start_by_cores_memory_and_disk() -> None:
    quoted = quote(LARGE, deployed(), RATES, prices(task_vcpu_hour=3600.0, task_gb_hour=360.0, task_disk_gb_hour=36.0))
    an_s = 2 * 1.0 + 4 * 0.1 + 10 * 0.01  # of 30 GB of disk, 20 are free
    assert by_stage(quoted)["verify"].usd.compute == pytest.approx(160 * an_s)
    assert quoted.paid_anyway.total == pytest.approx(400 * 2 * an_s)  # two workers for 400 s


def test_workers_on_demand_are_not_paid_anyway() -> None:
    costs = prices(task_vcpu_hour=3600.0)
    always, on_demand = (quote(LARGE, deployed(min_workers=least), RATES, costs) for least in (1, 0))
    assert on_demand.usd == always.usd
    assert always.paid_anyway.total == pytest.approx(400 * 2 * 2)
    assert on_demand.paid_anyway.total == 0.0


def test_a_task_is_billed_for_a_minute_at_least() -> None:
    fast = replace(RATES, task_start_s=replace(RATES.task_start_s, value=0.0))
    quoted = quote(SMALL, deployed(lambda_file_bytes=0), fast, prices(task_vcpu_hour=60.0))
    assert by_stage(quoted)["publish"].usd.compute == pytest.approx(2.0)


def test_states_are_billed_as_they_are_entered() -> None:
    priced = prices(transition=1.0)
    assert by_stage(quote(SMALL, deployed(), RATES, priced))["workflow"].usd.requests == 8 + 3 * 3
    assert by_stage(quote(LARGE, deployed(), RATES, priced))["workflow"].usd.requests == 8 + 3 * 4


def test_two_thirds_of_traffic_cross_zones_both_ways() -> None:
    quoted = quote(LARGE, deployed(), RATES, prices(zone_gb=3.0))
    gb = 100 * M * 20 / 1e9
    assert (quoted.usd.total, quoted.usd.traffic) == pytest.approx((2 * gb * 2 / 3 * 3.0,) * 2)
    own = quote(LARGE, replace(deployed(), traffic_charged=True), RATES, prices(zone_gb=3.0))
    assert own.usd.traffic == pytest.approx((3 + 1) * gb * 2 / 3 * 3.0)


def test_machine_is_started_beyond_the_largest_task() -> None:
    quoted = quote(LARGE, deployed(fargate_file_bytes=10**9), RATES, prices(machine_hour=36.0))
    verify = by_stage(quoted)["verify"]
    assert (verify.where, verify.start_s) == ("machine", 120.0)
    assert verify.seconds == pytest.approx(120 + 100)
    assert verify.usd.compute == pytest.approx(220 * 0.01)


def test_workers_store_runs_of_16_mib_unless_they_keep_all_rows() -> None:
    def puts(work: Work, sent: float) -> tuple[float, float]:
        rates = replace(RATES, kafka=replace(RATES.kafka, bytes=sent))
        parts = work.rows * 10 / (16 * 1024**2) + 8
        stage = by_stage(quote(work, deployed(), rates, prices(s3_put=1.0)))["materialise"]
        return stage.usd.requests - parts, work.rows * sent / (16 * 1024**2)

    assert puts(SMALL, 20)[0] == pytest.approx(0)  # 4 s, 2.5 MB a partition
    for work, sent in ((LARGE, 20), (SMALL, 2000)):  # 400 s; 250 MB a partition
        runs, expected = puts(work, sent)
        assert runs == pytest.approx(expected)


def test_embedded_object_store_is_not_billed() -> None:
    assert quote(SMALL, deployed(), RATES, FREE).billed
    assert not quote(SMALL, deployed(s3_endpoint="http://127.0.0.1:1"), RATES, FREE).billed


def test_json_quote_contains_every_printed_number() -> None:
    record = quote(SMALL, deployed(), RATES, prices(s3_gb_month=2.0, task_vcpu_hour=1.8)).as_record()
    workers = next(stage for stage in record["stages"] if stage["paid_anyway"])
    assert record["paid_anyway_usd"] == workers["usd"]["compute"] == record["usd"]["total"] == 0.008
    assert (record["can_end"], record["warnings"], record["region"], record["prices_of"]) == (
        True,
        [],
        "nowhere",
        "2026-01-02",
    )
    assert (record["kafka_gb"], record["kafka_days"], record["lake_gb"], record["lake_usd_month"]) == (
        0.06,
        7.0,
        0.01,
        0.02,
    )
    assert [stage["stage"] for stage in record["stages"]] == ["workflow", "verify", "import", "materialise", "publish"]
