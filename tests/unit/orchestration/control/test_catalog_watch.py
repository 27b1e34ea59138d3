import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.control.catalog_watch import QUIET_AFTER_MS, CatalogWatch
from orchestration.platform.settings import Secret
from schemas.errors import RetriableError

NOW = 1_000_000
LATER = NOW + QUIET_AFTER_MS + 1


def commit(database: Database, statement: str = "CREATE TABLE one (n INTEGER)") -> None:
    with database.write() as connection:
        connection.execute(sa.text(statement))


def test_commit_of_any_process_is_noticed_once(tmp_path: Path) -> None:
    url = Secret(f"sqlite:///{tmp_path}/catalog.db")
    ours, other = Database(url), Database(url)
    commit(ours)
    watch = CatalogWatch(ours.version)
    found = [watch.look(NOW)]
    for database in (ours, other):
        found.append(watch.look(NOW))
        commit(database, "INSERT INTO one VALUES (1)")
        found.append(watch.look(NOW))
    with ours.read() as connection:
        connection.execute(sa.text("SELECT * FROM one")).all()
    found.append(watch.look(NOW))
    assert found == [True, False, True, False, True, False]


def test_catalog_is_quiet_some_time_after_the_last_commit() -> None:
    versions = [1, 1, 2]
    watch = CatalogWatch(lambda: versions.pop(0))
    quiet = [watch.quiet(NOW)]
    for now in (NOW, LATER, LATER):
        watch.look(now)
        quiet.append(watch.quiet(now))
    assert quiet == [False, False, True, False]


def test_catalog_outage_is_not_quiet_and_ends_like_a_commit() -> None:
    answers: list[int | RetriableError] = [1, RetriableError("CATALOG_UNAVAILABLE", "away"), 1]

    def version() -> int:
        if isinstance(answer := answers.pop(0), RetriableError):
            raise answer
        return answer

    watch = CatalogWatch(version)
    found = [(watch.look(NOW), watch.quiet(LATER)) for _ in range(3)]
    assert found == [(True, True), (False, False), (True, True)]


def test_irrelevant_commit_is_ignored_and_hides_no_other(tmp_path: Path) -> None:
    url = Secret(f"sqlite:///{tmp_path}/catalog.db")
    ours, other = Database(url), Database(url)
    commit(ours)
    watch = CatalogWatch(ours.version)
    watch.look(NOW)
    found = []
    for before in (False, True):
        if before:
            commit(other, "INSERT INTO one VALUES (1)")
        watch.unnoticed(lambda: commit(ours, "INSERT INTO one VALUES (2)"))
        found.append(watch.look(NOW))
    assert found == [False, True]


def test_commit_and_shutdown_wake_all_waiters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.control.catalog_watch.WATCH_S", 0.001)
    version = 1
    watch, stop, wakes = CatalogWatch(lambda: version), threading.Event(), [threading.Event(), threading.Event()]
    thread = threading.Thread(target=watch.run, args=(stop, wakes))
    thread.start()
    for _ in range(2):
        for wake in wakes:
            assert wake.wait(30)
            wake.clear()
        version += 1
    stop.set()
    thread.join(30)
    assert all(wake.is_set() for wake in wakes)
