"""Report at the end of a run: time and budget of each suite, and slow tests that do not say why they are slow.

Nothing fails, since machines are noisy. `--suite-times FILE` writes the report as JSON. A suite is a folder of tests,
deeper for unit and integration tests (`DEPTHS`). Its budget, in seconds of pytest's processes, is a line of
`suite_budgets` in pyproject.toml, such as "unit/streams = 60".
"""

import json
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

import pytest

SLOW_S: Final = 20.0
"""A test that takes longer needs a marker that says why."""
DEPTHS: Final = {"unit": 3, "integration": 2}
"""How many folders name a suite."""
MARKERS: Final = ("slow", "faults", "containers")


@dataclass(slots=True, kw_only=True)
class Suite:
    """The tests of a suite that have run. Seconds include set-up and tear-down, summed over processes."""

    tests: int = 0
    seconds: float = 0.0
    budget_s: float | None = None


@dataclass(slots=True, kw_only=True)
class Times:
    """A whole run: its suites by name, and the seconds of each slow test without a marker."""

    suites: dict[str, Suite] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)


def suite_of(test: str) -> str:
    """tests/integration/lake/test_sql.py::test_it belongs to integration/lake."""
    folders = PurePosixPath(test.partition("::")[0]).parts[:-1]
    depth = DEPTHS.get("/".join(folders[1:2]), 1)
    return "/".join(folders[1 : 1 + depth]) or "tests"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options for the report and its budgets."""
    parser.addoption("--suite-times", type=Path, metavar="FILE", help="write the time of each suite to FILE, as JSON")
    parser.addini("suite_budgets", type="linelist", help='the most that suites should take: "NAME = SECONDS"')


def pytest_configure(config: pytest.Config) -> None:
    """Register the reporter in one process: with pytest-xdist, the one that receives all reports and prints."""
    if not hasattr(config, "workerinput"):
        budgets = (line.partition("=") for line in config.getini("suite_budgets"))
        config.pluginmanager.register(_Reporter({name.strip(): float(s) for name, _, s in budgets}))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the marker into the report, which is all that the printing process knows of a test."""
    report = yield
    report.says_why = any(item.get_closest_marker(name) for name in MARKERS)  # type: ignore[attr-defined]
    return report


class _Reporter:
    def __init__(self, budgets: dict[str, float]) -> None:
        self._budgets = budgets
        self._times = Times()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = suite_of(report.nodeid)
        suite = self._times.suites.setdefault(name, Suite(budget_s=self._budgets.get(name)))
        suite.seconds += report.duration
        suite.tests += report.when == "setup"
        if report.when == "call" and report.duration > SLOW_S and not report.says_why:
            self._times.slow[report.nodeid] = report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        suites = sorted(self._times.suites.items(), key=lambda named: -named[1].seconds)
        total = sum(suite.seconds for _, suite in suites)
        if len(suites) > 1:
            terminalreporter.section(f"suites: {total:.0f} s in all processes")
        for name, suite in suites:
            over = suite.budget_s is not None and suite.seconds > suite.budget_s
            budget = f"  over its budget of {suite.budget_s:g} s" if over else ""
            if over or len(suites) > 1:
                share = 100 * suite.seconds / (total or 1)
                line = f"{suite.seconds:8.1f} s {share:5.1f} % {suite.tests:6} tests  {name}{budget}"
                terminalreporter.write_line(line, yellow=over)
        if self._times.slow:
            terminalreporter.section(f'slower than {SLOW_S:g} s: a busy machine, or tests that lack slow("why")')
        for test, seconds in self._times.slow.items():
            terminalreporter.write_line(f"{seconds:8.1f} s  {test}", yellow=True)
        file: Path | None = config.getoption("--suite-times")
        if file is not None:
            file.write_text(json.dumps(asdict(self._times), indent=1) + "\n")
