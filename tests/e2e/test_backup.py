"""A deployment is backed up, destroyed and restored, and goes on as if nothing had been."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import stop_and_check
from tests.e2e.conftest import Answer, run, write

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    stop_and_check(tmp_path / "home")


def ok(home: Path, *arguments: object) -> Answer:
    answer = run(home, *map(str, arguments))
    assert answer.code == 0, (arguments, answer.err)
    return answer


def members(home: Path, version: int | None = None) -> list[str]:
    at = "" if version is None else f", version => {version}"
    rows = ok(home, "sql", f"select user_id from audience('vip'{at}) order by 1", "--json").json
    return [row["user_id"] for row in rows]


def test_what_was_backed_up_is_there_after_the_home_was_destroyed(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "backup"
    ok(home, "up", "--free-ports")
    first = write(tmp_path / "first.csv", "user_id", *(f"u{n:03}" for n in range(200)))
    ok(home, "import", first, "-a", "vip", "--wait")
    second = write(tmp_path / "second.csv", "user_id", *(f"u{n:03}" for n in range(100, 300)))
    ok(home, "import", second, "-a", "vip", "--wait")
    versions = ok(home, "audiences", "versions", "vip", "--json").json
    ok(home, "backup", place)
    again = run(home, "backup", str(place))
    assert (again.code, "DESTINATION_EXISTS" in again.err) == (3, True)
    ok(home, "down")
    shutil.rmtree(home)

    ok(home, "up", "--free-ports")
    damaged = tmp_path / "damaged"
    shutil.copytree(place, damaged)
    manifest = json.loads((damaged / "manifest.json").read_text())
    victim = damaged / "lake" / max(manifest["lake"])
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    refused = run(home, "restore", str(damaged))
    assert (refused.code, "BACKUP_DAMAGED" in refused.err) == (3, True)
    assert ok(home, "audiences", "list", "--json").json == []
    nothing = run(home, "restore", str(tmp_path))
    assert (nothing.code, "NO_BACKUP" in nothing.err) == (3, True)

    ok(home, "restore", place)
    assert ok(home, "audiences", "versions", "vip", "--json").json == versions
    assert members(home) == [f"u{n:03}" for n in range(100, 300)]
    assert members(home, version=1) == [f"u{n:03}" for n in range(200)]
    ok(home, "fsck")
    twice = run(home, "restore", str(place))
    assert (twice.code, "NOT_EMPTY" in twice.err) == (3, True)
    third = write(tmp_path / "third.csv", "user_id", "v1", "v2")
    done = ok(home, "import", third, "-a", "vip", "--allow-shrink", "--wait", "--json").json
    assert (done["receipt"]["version"], members(home)) == (3, ["v1", "v2"])
    ok(home, "fsck")
    actions = [entry["action"] for entry in ok(home, "audit", "--json").json]
    assert actions[:2] == ["import", "import"]
    assert "restore" in actions
    ok(home, "down")
