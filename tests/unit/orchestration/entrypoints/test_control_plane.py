"""How the control plane ends."""

import signal
import threading
from unittest.mock import MagicMock

import pytest

from orchestration.entrypoints import control_plane
from orchestration.platform.settings import Settings


class ScalingLane:
    """Looks once more after it was stopped, which takes a while."""

    def __init__(self) -> None:
        self.looked = threading.Event()
        self.process_ended = threading.Event()

    def start(self, stop: threading.Event) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(stop,), daemon=True)
        thread.start()
        return thread

    def _run(self, stop: threading.Event) -> None:
        stop.wait()
        if not self.process_ended.wait(0.3):
            self.looked.set()


def test_control_plane_ends_only_after_it_has_looked_again_whether_it_should_have_stayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lane, jobs = ScalingLane(), MagicMock()
    jobs.run.side_effect = lambda stop, _changed: stop.set()
    for name in ("parts", "Context", "WorkerGroups", "CatalogWatch", "serve_metrics", "memory"):
        monkeypatch.setattr(control_plane, name, MagicMock())
    monkeypatch.setattr(control_plane, "other_lanes", lambda *_: [])
    monkeypatch.setattr(control_plane, "scaling_lanes", lambda *_: [lane])
    monkeypatch.setattr(control_plane, "jobs_lane", lambda *_: jobs)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    control_plane.run(Settings())
    lane.process_ended.set()

    assert lane.looked.is_set()
