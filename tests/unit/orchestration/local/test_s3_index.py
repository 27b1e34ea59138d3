from collections import namedtuple
from pathlib import Path

import pytest

from orchestration.local.seaweedfs import MIN_FREE_MIB, index_watch

FAILED = b"persisting /buckets/staging/a : write data/filerldb2/06/000001.log: no space left on device\n"
OTHER = b"failed to write to local disk: write data/lake_8.dat: no space left on device\n"
Usage = namedtuple("Usage", "free")


def test_server_is_ill_after_an_index_failure_with_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = MIN_FREE_MIB * 2**20 - 1
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(free))
    log = tmp_path / "s3.log"
    log.write_bytes(FAILED)  # from the previous process
    look = index_watch(log, tmp_path)
    assert look() is None
    with log.open("ab") as file:
        for line in (OTHER, FAILED[:40]):
            file.write(line)
            file.flush()
            assert look() is None
        file.write(FAILED[40:])
        file.flush()
        assert look() is None, "there is no room yet"
        free += 1
        assert look() == "its index has refused writes since the disk was full"


def test_a_server_without_a_log_is_not_ill(tmp_path: Path) -> None:
    look = index_watch(tmp_path / "s3.log", tmp_path)
    assert look() is None
    (tmp_path / "s3.log").write_bytes(OTHER)
    assert look() is None
