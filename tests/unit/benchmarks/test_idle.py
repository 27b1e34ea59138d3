from benchmarks import idle_bench
from benchmarks.idle_bench import MIB, Usage
from benchmarks.measure import Result

BEFORE = Usage(cpu_s=5.0, rss_bytes=0, pss_bytes=0)


def part(name: str, cpu_s: float, rss_mib: int = 100) -> Result:
    after = Usage(cpu_s=5.0 + cpu_s, rss_bytes=rss_mib * MIB, pss_bytes=80 * MIB)
    return idle_bench.part_result(name, BEFORE, after, 100.0)


def test_part_is_charged_only_observed_time() -> None:
    result = part("relay", 1.5)
    assert (result.note, result.met) == ("1.50% of a core, PSS 80 MiB", None)


def test_only_workers_have_a_goal_for_memory() -> None:
    assert [part(name, 0.1, 251).met for name in ("worker-1", "segment-worker-1", "engine")] == [False, False, None]
    assert part("worker-1", 0.1, 249).met


def test_the_broker_does_not_count_towards_the_goal() -> None:
    parts = [part("kafka", 9.0), part("relay", 1.0), part("worker-1", 1.5)]
    assert idle_bench.beside_the_broker(parts).met
    assert not idle_bench.beside_the_broker([*parts, part("engine", 0.5)]).met


def test_memory_of_all_parts_counts_their_own_shares() -> None:
    parts = [Usage(cpu_s=0.0, rss_bytes=2000 * MIB, pss_bytes=649 * MIB)] * 2
    assert idle_bench.memory_of_all(parts).met
    assert not idle_bench.memory_of_all([*parts, Usage(cpu_s=0.0, rss_bytes=0, pss_bytes=2 * MIB)]).met
