"""docs/capacity.md is made from the shipped rates and prices, and these from the benchmarks' reports."""

import re
import tomllib
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.capacity_page import BLOCK, PAGE, rendered
from benchmarks.capacity_rates import STAGES, as_toml, measured
from benchmarks.capacity_tables import TABLES, Basis, markdown
from orchestration.quoting.prices import load_prices
from orchestration.quoting.rates import RATES_FILE, Rates, shipped_rates

BASIS = Basis(rates=shipped_rates(), prices=load_prices())


def test_capacity_page_matches_shipped_rates_and_prices() -> None:
    page = PAGE.read_text()
    assert page == rendered(page, BASIS), "run: python -m benchmarks.capacity_page"


def test_the_page_has_every_table_once() -> None:
    assert sorted(found[1] for found in BLOCK.finditer(PAGE.read_text())) == sorted(TABLES)


def test_capacity_page_depends_on_rates_and_prices() -> None:
    page = PAGE.read_text()
    slower = replace(BASIS.rates, verify=replace(BASIS.rates.verify, wall_us=1.0))
    dearer = replace(BASIS.prices, zone_gb=replace(BASIS.prices.zone_gb, usd=1.0))
    assert rendered(page, replace(BASIS, rates=slower)) != page
    assert rendered(page, replace(BASIS, prices=dearer)) != page


def test_file_of_rates_is_normalised() -> None:
    assert RATES_FILE.read_text() == as_toml(shipped_rates())
    odd = replace(BASIS.rates, whole=replace(BASIS.rates.whole, source='a "quoted" \\ source'))
    assert Rates.from_record(tomllib.loads(as_toml(odd))) == odd


def result(name: str, wall_s: float, cpu_s: float, stored: int | None = None) -> dict[str, Any]:
    benchmark, label = STAGES[name]
    best = {"rows": 2_000_000, "wall_s": wall_s, "cpu_s": cpu_s, "peak_bytes": 1}
    return {"benchmark": benchmark, "label": label, "best": best, "stored_bytes": stored}


REPORT: dict[str, Any] = {
    "rows": 2_000_000,
    "bytes": 90_000_000,
    "measured_at": "2026-12-01T23:30:00+00:00",
    "machine": {"cores": 2, "load_average": 0.25},
    "results": [
        result("import_", 1.0, 1.5, stored=52_000_000),
        result("import_", 1.0, 1.5),  # the same benchmark with another baseline
        result("verify", 0.5, 4.0),
        result("publish", 2.0, 1.0, stored=40_000_000),
        {**result("verify", 9.0, 9.0), "label": "pyarrow.csv, parse only"},
    ],
}


def test_results_update_only_their_rates() -> None:
    rates = measured(BASIS.rates, REPORT)
    assert (rates.import_.wall_us, rates.import_.cpu_us) == (0.5, 0.75)
    assert rates.import_.source == "2 M rows, 2 cores at a load of 0.2, 2026-12-01: python -m benchmarks publish"
    assert (rates.file.bytes, rates.kafka.bytes, rates.lake.bytes) == (45.0, 26.0, 20.0)
    assert rates.kafka != BASIS.rates.kafka
    assert rates.kafka.source.endswith(", one replica")
    assert (rates.materialise, rates.archive, rates.task_start_s) == (
        BASIS.rates.materialise,
        BASIS.rates.archive,
        BASIS.rates.task_start_s,
    )


def test_processor_time_of_starts_before_the_clock_does_not_count() -> None:
    rates = measured(BASIS.rates, REPORT)
    # 2 us are measured, but two cores have only half a us
    assert (rates.verify.wall_us, rates.verify.cpu_us) == (0.25, 0.5)


def test_results_without_bytes_change_no_byte_rate() -> None:
    report = {**REPORT, "bytes": 0, "results": [result("import_", 1.0, 1.0)]}
    rates = measured(BASIS.rates, report)
    assert (rates.file, rates.kafka, rates.lake) == (BASIS.rates.file, BASIS.rates.kafka, BASIS.rates.lake)


def test_labels_match_the_benchmarks() -> None:
    """A benchmark that renames its result would leave an old rate in place."""
    sources = "\n".join(path.read_text() for path in (PAGE.parents[1] / "benchmarks").glob("*_bench.py"))
    for _, label in STAGES.values():
        assert f'"{label}"' in sources


def test_figures_are_right_aligned() -> None:
    table = markdown(("what", "n"), [("a", "1 s"), ("b", "< 0.1")])
    assert table.splitlines()[1] == "| --- | ---: |"


@pytest.mark.parametrize("name", ["lambda_file_bytes", "prices_file"])
def test_page_names_its_settings(name: str) -> None:
    assert re.search(rf"`{name}`", PAGE.read_text())
