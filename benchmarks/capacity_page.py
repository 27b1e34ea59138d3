"""Writes the rates that quotes are based on, and the tables of docs/capacity.md.

`python -m benchmarks.capacity_page [FILE]`: FILE is the output of `python -m benchmarks ... --json FILE`; its rates
replace the present ones. Without it, only the tables are rewritten.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Final

from benchmarks import capacity_rates
from benchmarks.capacity_tables import TABLES, Basis
from orchestration.quoting.prices import load_prices
from orchestration.quoting.rates import RATES_FILE, read_rates

PAGE: Final = Path(__file__).parents[1] / "docs" / "capacity.md"
BLOCK: Final = re.compile(r"<!-- begin (\w+) -->\n.*?<!-- end \1 -->", re.DOTALL)


def rendered(page: str, basis: Basis) -> str:
    """The page with every block between markers regenerated. Raises `KeyError` for a block without a table."""
    return BLOCK.sub(lambda m: f"<!-- begin {m[1]} -->\n{TABLES[m[1]](basis)}\n<!-- end {m[1]} -->", page)


def main() -> None:
    """Write the rates first, then the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity_page", description=__doc__)
    parser.add_argument("report", nargs="?", type=Path, help="results of the benchmarks as JSON")
    options = parser.parse_args()
    rates = read_rates(RATES_FILE)
    if options.report is not None:
        rates = capacity_rates.measured(rates, json.loads(options.report.read_text(encoding="utf-8")))
        capacity_rates.write(rates, RATES_FILE)
    basis = Basis(rates=rates, prices=load_prices())
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), basis), encoding="utf-8")
    print(f"written: {RATES_FILE.name}, {PAGE.name}" if options.report else f"written: {PAGE.name}")


if __name__ == "__main__":
    main()
