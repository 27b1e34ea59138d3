"""Files written on this machine are readable by their owner only."""

import stat
from pathlib import Path

import pytest

from connectors.private_files import make_private_folder, write_private
from connectors.sinks.local_folder import LocalFolder
from orchestration.operations.backup_location import DirectoryLocation


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_created_folders_are_private_and_existing_ones_keep_their_mode(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    make_private_folder(tmp_path / "shared" / "a" / "b")
    assert [mode(tmp_path / "shared" / name) for name in (".", "a", "a/b")] == [0o755, 0o700, 0o700]
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private_folder(tmp_path / "file")


def test_existing_file_becomes_private_and_links_are_not_followed(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("a longer content from before")
    file.chmod(0o644)
    write_private(file, b"new")
    assert (file.read_bytes(), mode(file)) == (b"new", 0o600)
    link.symlink_to(file)
    with pytest.raises(OSError, match="symbolic link"):
        write_private(link, b"through the link")
    assert file.read_bytes() == b"new"


def test_exports_and_backups_are_private(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "exports" / "vip")
    with folder.scratch(tmp_path) as scratch:
        (scratch / "part").write_bytes(b"members")
        folder.put(scratch / "part", "country=jp/part-0.parquet")
    folder.put_manifest(b"{}")
    DirectoryLocation(tmp_path / "backups" / "today").put("lake/x/y", tmp_path / "exports" / "vip" / "manifest.json")
    written = [path for name in ("exports", "backups") for path in (tmp_path / name, *(tmp_path / name).rglob("*"))]
    assert {mode(path) for path in written if path.is_file()} == {0o600}
    assert {mode(path) for path in written if path.is_dir()} == {0o700}
    assert len([path for path in written if path.is_file()]) == 3
