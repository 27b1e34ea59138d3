"""The next worker removes what a killed one leaves on disk."""

import os
import subprocess
import sys
from pathlib import Path

from streams.merges import remove_leftovers


def test_only_folders_of_dead_workers_are_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as dead:
        dead.wait()
    for name in (f"merge-{dead.pid}-x", f"merge-{os.getppid()}-x", f"merge-{os.getpid()}-x", "other"):
        (tmp_path / name / "sort-y").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"merge-{os.getppid()}-x", "other"]
