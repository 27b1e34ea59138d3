"""A migrated catalog in no time: SQLite files are copies of one that the real migrations have made."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestration.catalog import migrate
from orchestration.platform.settings import Secret


def migrated(url: Secret) -> None:
    """As `migrate.upgrade`, which takes 0.2 s: once per process for all new SQLite files."""
    parsed = sa.make_url(url.reveal())
    file = Path(parsed.database or "")
    if parsed.get_backend_name() != "sqlite" or file.exists():
        migrate.upgrade(url)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_migrated_file())


@cache
def _migrated_file() -> bytes:
    folder = Path(tempfile.mkdtemp(prefix="muster-migrated-"))
    try:
        made = folder / "catalog.db"
        migrate.upgrade(Secret(f"sqlite:///{made}"))
        with sqlite3.connect(made) as connection:  # all of it into the one file
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return made.read_bytes()
    finally:
        shutil.rmtree(folder)


@contextmanager
def without_fsync() -> Iterator[None]:
    """SQLite does not wait for the disk: files of a test need not survive a loss of power, and a commit takes 7 ms."""

    def relax(connection: Any, *_: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    sa.event.listen(sa.Pool, "checkout", relax)  # after what each engine sets as it connects
    yield
    sa.event.remove(sa.Pool, "checkout", relax)
