"""A catalog that tests share is given its first content again (`tests.fakes.catalog.Restorable`)."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.fakes.catalog import Restorable


def test_what_others_have_committed_is_taken_back_every_time(tmp_path: Path) -> None:
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
