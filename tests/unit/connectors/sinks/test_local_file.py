"""A file gets its name once it is complete."""

import resource
from pathlib import Path

import pytest

from connectors.sinks.local_file import complete_file
from schemas.errors import UserError


def write(target: Path, content: bytes, *, overwrite: bool = False) -> None:
    with complete_file(target, overwrite=overwrite) as path:
        path.write_bytes(content)
        assert not target.exists() or overwrite


def test_file_is_private_and_its_folder_is_created(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a"
    write(target, b"a")
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"a", 0o600)
    assert list(target.parent.iterdir()) == [target]


def test_concurrently_created_file_is_kept_unless_overwriting(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with pytest.raises(UserError, match="DESTINATION_EXISTS"), complete_file(target, overwrite=False):
        target.write_bytes(b"theirs")
    assert (list(tmp_path.iterdir()), target.read_bytes()) == ([target], b"theirs")
    write(target, b"ours", overwrite=True)
    assert (list(tmp_path.iterdir()), target.read_bytes()) == ([target], b"ours")


def test_error_leaves_no_file(tmp_path: Path) -> None:
    def cut_off() -> None:
        with complete_file(tmp_path / "a", overwrite=False) as path:
            path.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cut_off()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["/proc/nowhere/a", "file/a"])
def test_unwritable_path_is_a_user_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="DESTINATION_NOT_WRITABLE"):
        write(tmp_path / name, b"a")


def test_full_disk_is_a_user_error_and_leaves_no_file(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(UserError) as caught:
            write(tmp_path / "a", bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (caught.value.code, caught.value.detail["path"]) == ("DESTINATION_FULL", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
