"""A deployment is backed up, destroyed and restored, and continues as if nothing had happened."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.composition.context import Context
from orchestration.platform.settings import Settings
from tests.conftest import StartStack, stop_and_check
from tests.e2e.conftest import Answer, Muster, ids_of, imported, run, write

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    stop_and_check(tmp_path / "home")


def ok(home: Path, *arguments: object) -> Answer:
    answer = run(home, *map(str, arguments))
    assert answer.code == 0, (arguments, answer.err)
    return answer


def refused(home: Path, *arguments: object, code: str) -> None:
    answer = run(home, *map(str, arguments))
    assert (answer.code, code in answer.err) == (3, True), answer.err


def damaged(backup: Path, copy: Path) -> Path:
    """A copy of a backup with one changed byte in a file."""
    shutil.copytree(backup, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    victim = copy / "lake" / max(manifest["lake"])
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    return copy


def two_versions(muster: Muster, folder: Path) -> None:
    """`vip` with u000 to u199 in version 1, u100 to u299 in version 2."""
    for name, first in (("first", 0), ("second", 100)):
        file = write(folder / f"{name}.csv", "user_id", *(f"u{n:03}" for n in range(first, first + 200)))
        imported(muster, file, "vip")


def assert_two_versions(home: Path) -> None:
    context = Context(Settings.load({"MUSTER_HOME": str(home)}))
    assert ids_of(context, "vip") == [f"u{n:03}" for n in range(100, 300)]
    assert ids_of(context, "vip", version=1) == [f"u{n:03}" for n in range(200)]
    context.close()


def test_a_backup_overwrites_nothing(muster: Muster, deployment: Settings, tmp_path: Path) -> None:
    imported(muster, write(tmp_path / "a.csv", "user_id", "u1"), "backed-up")
    ok(deployment.home, "backup", tmp_path / "backup")
    refused(deployment.home, "backup", tmp_path / "backup", code="DESTINATION_EXISTS")
    refused(deployment.home, "restore", tmp_path / "backup", code="NOT_EMPTY")


@pytest.mark.faults(
    "starts a second stack; a backup of each kind comes back in lake/test_backup.py, refusals included", seconds=60
)
def test_a_backup_is_restored_into_another_deployment(
    muster: Muster, deployment: Settings, start_stack: StartStack, tmp_path: Path
) -> None:
    place = tmp_path / "backup"
    two_versions(muster, tmp_path)
    versions = muster("audiences", "versions", "vip", "--json").json
    ok(deployment.home, "backup", place)
    other = start_stack(parts=("s3", "catalog", "api")).home
    refused(other, "restore", damaged(place, tmp_path / "damaged"), code="BACKUP_DAMAGED")
    refused(other, "restore", tmp_path, code="NO_BACKUP")
    assert ok(other, "audiences", "list", "--json").json == []
    ok(other, "restore", place)
    assert ok(other, "audiences", "versions", "vip", "--json").json == versions
    assert_two_versions(other)
    assert "restore" in [entry["action"] for entry in ok(other, "audit", "--json").json]


@pytest.mark.faults("starts a whole stack, destroys it, and starts another one in its place")
def test_backup_restores_a_destroyed_home(home: Path, tmp_path: Path) -> None:
    place = tmp_path / "backup"
    ok(home, "up", "--free-ports")
    two_versions(lambda *arguments: run(home, *map(str, arguments)), tmp_path)
    versions = ok(home, "audiences", "versions", "vip", "--json").json
    ok(home, "backup", place)
    refused(home, "backup", place, code="DESTINATION_EXISTS")
    ok(home, "down")
    shutil.rmtree(home)

    ok(home, "up", "--free-ports")
    refused(home, "restore", damaged(place, tmp_path / "damaged"), code="BACKUP_DAMAGED")
    assert ok(home, "audiences", "list", "--json").json == []
    refused(home, "restore", tmp_path, code="NO_BACKUP")

    ok(home, "restore", place)
    assert ok(home, "audiences", "versions", "vip", "--json").json == versions
    assert_two_versions(home)
    ok(home, "fsck")
    refused(home, "restore", place, code="NOT_EMPTY")
    third = write(tmp_path / "third.csv", "user_id", "v1", "v2")
    done = ok(home, "import", third, "-a", "vip", "--allow-shrink", "--wait", "--json").json
    rows = ok(home, "sql", "select user_id from audience('vip') order by 1", "--json").json
    assert (done["receipt"]["version"], rows) == (3, [{"user_id": "v1"}, {"user_id": "v2"}])
    ok(home, "fsck")
    actions = [entry["action"] for entry in ok(home, "audit", "--json").json]
    assert actions.count("import") == 3
    assert actions.index("import") < actions.index("restore"), "the trail of the backup, and what came after"
    ok(home, "down")
