"""The next process removes the temporary folder of a killed one, but none that is in use."""

import subprocess
import sys
from pathlib import Path

import pytest

from connectors.sinks.locked_folder import locked_folder

HOLDER = """
import sys
from pathlib import Path
from connectors.sinks.locked_folder import locked_folder
with locked_folder(Path(sys.argv[1]), "spill-") as folder:
    (folder / "block").write_bytes(b"rows")
    print(folder.name, flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_only_folders_of_killed_processes_are_removed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            theirs = holder.stdout.readline().strip()
            with locked_folder(tmp_path, "spill-") as first, locked_folder(tmp_path, "spill-") as second:
                assert names(tmp_path) == sorted(["other", theirs, first.name, second.name])
                assert names(tmp_path / theirs) == ["block"]
        finally:
            holder.kill()
    assert names(tmp_path) == sorted(["other", theirs])
    with locked_folder(tmp_path, "spill-") as ours:
        assert names(tmp_path) == sorted(["other", ours.name])
    assert names(tmp_path) == ["other"]


def test_folder_is_removed_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad"), locked_folder(tmp_path / "new", "spill-"):
        raise ValueError("bad")
    assert names(tmp_path / "new") == []
