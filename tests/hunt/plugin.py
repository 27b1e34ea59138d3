"""`pytest -p tests.hunt.plugin --hunt-run FILE`: one run of a hunt (`tests.hunt.log`), in the order of its seed.

Tests that have passed often enough in earlier runs are left out, and each outcome is written as it happens. All
processes of pytest-xdist select the same tests, because they ignore what the run itself has written.
"""

import json
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.hunt.log import Outcome, passes, ran_until, rank, read_run, run_files, write_collected


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options that `tests.hunt` passes."""
    hunt = parser.getgroup("hunt")
    hunt.addoption("--hunt-run", type=Path, metavar="FILE", help="the run: its seed, and where outcomes are written")
    hunt.addoption("--hunt-times", type=int, default=20, help="leave out tests that have passed so often")
    hunt.addoption("--hunt-fresh", action="store_true", help="count only passes on the run's tree")
    hunt.addoption("--hunt-replay", metavar="TEST", help="run what the run's process had run until this test, no more")


def pytest_configure(config: pytest.Config) -> None:
    """Only the process that receives all reports writes outcomes."""
    if not hasattr(config, "workerinput") and config.getoption("--hunt-replay") is None:
        config.pluginmanager.register(_Recorder(config.getoption("--hunt-run")))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Shuffle before pytest groups tests that share a parametrised fixture, then deselect."""
    file: Path = config.getoption("--hunt-run")
    run = read_run(file)
    items.sort(key=lambda item: rank(run.seed, item.nodeid))
    yield
    if (replayed := config.getoption("--hunt-replay")) is not None:
        place = {test: number for number, test in enumerate(ran_until(file, replayed))}
        items[:] = sorted((item for item in items if item.nodeid in place), key=lambda item: place[item.nodeid])
        return
    if getattr(config, "workerinput", {"workerid": "gw0"})["workerid"] == "gw0":
        write_collected(file, [item.nodeid for item in items])
    earlier = [other for other in run_files(file.parent) if other.stem < file.stem]
    passed = passes(earlier, run.tree if config.getoption("--hunt-fresh") else None)
    left_out = [item for item in items if passed[item.nodeid] >= config.getoption("--hunt-times")]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


class _Recorder:
    def __init__(self, file: Path) -> None:
        self._log = file.open("a")
        self._reports: dict[str, list[pytest.TestReport]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reports = self._reports.setdefault(report.nodeid, [])
        reports.append(report)
        if report.when in ("setup", "call"):
            return  # the end comes with its teardown, or with the death of its process
        del self._reports[report.nodeid]
        worker = getattr(report, "node", None)
        found = {one.outcome for one in reports}
        ended = Outcome(
            test=report.nodeid,
            outcome=next((outcome for outcome in ("failed", "skipped") if outcome in found), "passed"),
            worker="main" if worker is None else worker.gateway.id,
            seconds=round(sum(one.duration for one in reports), 3),
            text="\n".join(one.longreprtext for one in reports if one.failed),
        )
        self._log.write(json.dumps(asdict(ended)) + "\n")
        self._log.flush()

    def pytest_unconfigure(self) -> None:
        self._log.close()
