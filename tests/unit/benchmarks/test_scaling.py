from benchmarks.measure import Measured, Result
from benchmarks.scaling_bench import Import, compared_with_more_workers, memory, speeds

MIB = 1024 * 1024


def an_import(rows: int, wall_s: float, *, workers: int = 1, worker_mib: int = 400, plain_s: float = 1) -> Import:
    def measured(seconds: float) -> Measured:
        return Measured(rows=rows, wall_s=seconds, cpu_s=seconds, peak_bytes=worker_mib * MIB)

    return Import(
        workers=workers,
        measured=measured(wall_s),
        peaks={"importer": 300 * MIB, "worker": worker_mib * MIB},
        plain=measured(plain_s) if workers == 1 else None,
    )


SMALL, LARGE = an_import(1_000_000, 2), an_import(20_000_000, 50, worker_mib=600, plain_s=10)
BOTH = an_import(1_000_000, 1.6, workers=2, worker_mib=1100)


def verdicts(results: list[Result]) -> list[tuple[str, str | None, float | None, bool | None]]:
    rates = {result.label: result.rate for result in results}
    return [(result.label, result.baseline, result.times(rates), result.verdict(rates)) for result in results]


def test_each_size_is_compared_with_duckdb_and_the_smallest_and_more_workers_with_one() -> None:
    assert verdicts(speeds([SMALL, LARGE], SMALL, [BOTH])) == [
        ("plain DuckDB, 1 M rows", None, None, None),
        ("1 M rows, 1 worker", "plain DuckDB, 1 M rows", 0.5, True),
        ("plain DuckDB, 20 M rows", None, None, None),
        ("20 M rows, 1 worker", "plain DuckDB, 20 M rows", 0.2, False),
        ("20 M rows, 1 worker", "1 M rows, 1 worker", 0.8, False),
        ("1 M rows, 2 workers", "1 M rows, 1 worker", 1.25, None),
    ]


def test_memory_is_bounded_in_each_import_and_flat_from_the_smallest_to_the_largest_size() -> None:
    results = memory([SMALL, LARGE, BOTH], [SMALL, LARGE])
    assert [(result.label, result.met) for result in results] == [
        ("importer, 1 M rows, 1 worker", True),
        ("importer, 20 M rows, 1 worker", True),
        ("importer, 1 M rows, 2 workers", True),
        ("importer, growth", True),
        ("worker, 1 M rows, 1 worker", True),
        ("worker, 20 M rows, 1 worker", True),
        ("worker, 1 M rows, 2 workers", False),
        ("worker, growth", False),
    ]
    assert [result.best.peak_bytes // MIB for result in results] == [300, 300, 300, 300, 400, 600, 1100, 600]
    assert results[-1].note == "not flat: 1.50 times the peak of the smallest"


def test_single_size_has_no_growth() -> None:
    assert [result.label for result in memory([SMALL], [SMALL])] == [
        "importer, 1 M rows, 1 worker",
        "worker, 1 M rows, 1 worker",
    ]


def test_more_workers_are_compared_in_the_largest_import_up_to_5_m_rows_or_the_smallest() -> None:
    middle = an_import(5_000_000, 10)
    assert compared_with_more_workers([SMALL, middle, LARGE]) is middle
    assert compared_with_more_workers([LARGE]) is LARGE
