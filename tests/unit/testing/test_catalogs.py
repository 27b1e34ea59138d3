"""Catalogs of tests: what was changed is taken back, and statements are compiled once (`tests.fakes.catalog`)."""

import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from orchestration.catalog.engine import Database
from orchestration.platform.settings import Secret
from tests.fakes.catalog import Restorable


def test_commits_are_rolled_back_between_tests(tmp_path: Path) -> None:
    template, file = tmp_path / "template.db", tmp_path / "catalog.db"
    with closing(sqlite3.connect(template)) as connection, connection:
        connection.execute("CREATE TABLE jobs AS SELECT 'first' AS name")
    restorable = Restorable(file, template)
    with closing(sqlite3.connect(file)) as catalog, closing(restorable):
        for name in ("second", "third"):
            restorable.restore()
            restorable.restore()  # nothing has changed since
            with catalog:
                catalog.execute("INSERT INTO jobs VALUES (?)", [name])
            restorable.restore()
            assert catalog.execute("SELECT name FROM jobs").fetchall() == [("first",)]


def test_compiled_statements_are_shared_between_catalogs(tmp_path: Path) -> None:
    jobs = sa.Table("jobs_of_test_catalogs", sa.MetaData(), sa.Column("name", sa.String))
    with patch.object(SQLiteCompiler, "visit_select", autospec=True, side_effect=SQLiteCompiler.visit_select) as select:
        for name in ("first", "second"):
            database = Database(Secret(f"sqlite:///{tmp_path / name}"))
            with database.write() as connection:
                connection.execute(sa.schema.CreateTable(jobs))
                connection.execute(jobs.insert().values(name=name))
                assert connection.execute(sa.select(jobs.c.name)).scalars().all() == [name]
            database.close()
    assert select.call_count == 1
