"""Many publishers of one audience, dead ones among them: every read is one version, and the outcomes add up."""

import random
import time
from pathlib import Path
from typing import Any

import pytest

from connectors.lake.store import IcebergVersionStore
from connectors.storage.access import S3Access
from segmentation.versions import AlreadyPublished, Published, SupersededBy
from tests.integration.lake.crashes import (
    CRASH_POINTS,
    CrashPoint,
    append_all,
    members_of,
    processes,
    publish_all,
)
from tests.integration.lake.support import Parts, audience, new_id, request, users

WRITERS = 3
EACH = 4
KILLS = 15


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.containers)])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.db'}"
    return str(request.getfixturevalue("postgres_url").reveal())


def _collect(report: Any, count: int) -> list[Any]:
    return [report.get(timeout=120) for _ in range(count)]


def test_concurrent_replaces_end_with_the_newest_and_readers_see_whole_versions(
    s3: S3Access, store: IcebergVersionStore, catalog_url: str, tmp_path: Path
) -> None:
    ref, parts, orders = audience(), Parts(s3), random.Random(7)
    numbers = [f"{n:03d}" for n in range(WRITERS * EACH)]
    orders.shuffle(numbers)
    made = {n: request(ref, parts.write(ref, new_id(), users(*(f"{n}-{u}" for u in range(8)))), n) for n in numbers}
    expected = {made[n].import_id: sorted(f"{n}-{u}" for u in range(8)) for n in numbers}
    report = processes.Queue()
    shares = [[made[n] for n in numbers[w::WRITERS]] for w in range(WRITERS)]
    writers = [
        processes.Process(target=publish_all, args=(catalog_url, s3, tmp_path, share, "never", report))
        for share in shares
    ]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers):
        current = store.current(ref)
        if current is not None:
            assert sorted(members_of(store, s3, ref, current.version)) == expected[current.import_id]
            reads += 1
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    outcomes = [o for o in _collect(report, WRITERS * (EACH + 1)) if o != "ready"]
    published = sorted(o.version for o in outcomes if isinstance(o, Published))
    assert published == list(range(1, len(published) + 1))
    assert len(published) + sum(isinstance(o, SupersededBy) for o in outcomes) == WRITERS * EACH
    versions = store.versions(ref)
    assert [v.version for v in versions] == published
    assert [v.order_key for v in versions] == sorted(v.order_key for v in versions)
    assert versions[-1].order_key == max(numbers)
    assert reads > 0


def test_concurrent_appends_lose_no_members(
    s3: S3Access, store: IcebergVersionStore, catalog_url: str, tmp_path: Path
) -> None:
    ref, report = audience(), processes.Queue()
    writers = [
        processes.Process(
            target=append_all,
            args=(catalog_url, s3, tmp_path, ref, [(new_id(), f"{w}-{n}") for n in range(EACH)], report),
        )
        for w in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    outcomes = _collect(report, WRITERS * EACH)
    assert sorted(o.version for o in outcomes) == list(range(1, WRITERS * EACH + 1))
    current = store.current(ref)
    assert current is not None
    assert sorted(members_of(store, s3, ref, current.version)) == sorted(
        f"{w}-{n}" for w in range(WRITERS) for n in range(EACH)
    )


@pytest.mark.parametrize("first", [True, False], ids=["first version", "second version"])
@pytest.mark.parametrize("crash", CRASH_POINTS)
def test_repeated_publisher_makes_one_version_after_a_death(
    s3: S3Access, store: IcebergVersionStore, catalog_url: str, tmp_path: Path, crash: CrashPoint, *, first: bool
) -> None:
    ref, parts = audience(), Parts(s3)
    if not first:
        store.publish(request(ref, parts.write(ref, new_id(), users("old")), "1"))
    made = request(ref, parts.write(ref, new_id(), users("ann", "bob")), "2")
    report = processes.Queue()
    writer = processes.Process(target=publish_all, args=(catalog_url, s3, tmp_path, [made], crash, report))
    writer.start()
    writer.join()
    assert writer.exitcode == 137
    landed = crash == "after the catalog"
    before = store.current(ref)
    assert (before is not None and before.import_id == made.import_id) == landed
    outcome = store.publish(made)
    assert isinstance(outcome, AlreadyPublished if landed else Published)
    assert [v.version for v in store.versions(ref)] == ([1] if first else [1, 2])
    assert sorted(members_of(store, s3, ref, outcome.version)) == ["ann", "bob"]


@pytest.mark.faults("kills at random moments", seconds=15)
def test_publishers_killed_at_random_and_repeated_make_one_version_each(
    s3: S3Access, store: IcebergVersionStore, catalog_url: str, tmp_path: Path
) -> None:
    ref, parts, moments = audience(), Parts(s3), random.Random(11)
    landed = tries = 0
    # The test needs at least one publisher killed before its commit; on a busy machine the kill may come late.
    while tries < KILLS or landed == tries:
        assert tries < 4 * KILLS, "every publisher had committed before it was killed"
        n = tries = tries + 1
        made = request(ref, parts.write(ref, new_id(), users(f"user-{n}", "ann")), f"{n:03d}")
        report = processes.Queue()
        writer = processes.Process(target=publish_all, args=(catalog_url, s3, tmp_path, [made], "never", report))
        writer.start()
        assert report.get(timeout=60) == "ready"
        time.sleep(moments.uniform(0, 0.4))
        writer.kill()  # unless it has already exited, which counts as killed late
        writer.join()
        current = store.current(ref)
        landed += current is not None and current.import_id == made.import_id
        outcome = store.publish(made)
        assert isinstance(outcome, Published | AlreadyPublished)
        assert outcome.version == n
        assert sorted(members_of(store, s3, ref, outcome.version)) == ["ann", f"user-{n}"]
        report.close()
    assert [v.order_key for v in store.versions(ref)] == [f"{n:03d}" for n in range(1, tries + 1)]
