import functools
import importlib
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from orchestration.local.processes import HOME_MARK
from tests.conftest import stack_environment
from tests.holding.holding import hold
from tests.holding.points import POINTS, Point

COMPARE = "from connectors.publishing.importer import compare; compare()"


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_every_point_is_a_call_of_the_product(point: Point) -> None:
    assert callable(functools.reduce(getattr, point.call.split("."), importlib.import_module(point.module)))


def test_process_is_held_once_before_the_call_and_continues(tmp_path: Path) -> None:
    def start() -> subprocess.Popen[str]:
        environment = stack_environment({HOME_MARK: str(tmp_path)})
        return subprocess.Popen([sys.executable, "-c", COMPARE], env=environment, stderr=subprocess.PIPE, text=True)

    with hold(tmp_path, "importer") as importer, start() as first:
        assert (importer().pid, importer().status()) == (first.pid, psutil.STATUS_STOPPED)
        with start() as second:
            assert "missing 3 required positional arguments" in second.communicate()[1]
        assert first.poll() is None
        importer().resume()
        assert "missing 3 required positional arguments" in first.communicate()[1]
    assert list((tmp_path / "held").iterdir()) == []
