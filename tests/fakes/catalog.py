"""A migrated catalog in no time: SQLite files are copies of one that the real migrations created."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa

from orchestration.catalog import engine as catalog_engine
from orchestration.catalog import migrate
from orchestration.platform.settings import Secret


def migrated(url: Secret) -> None:
    """Replace `migrate.upgrade`, which takes 0.2 s: migrate once per process, then copy that file for new databases."""
    parsed = sa.make_url(url.reveal())
    file = Path(parsed.database or "")
    if parsed.get_backend_name() != "sqlite" or file.exists():
        migrate.upgrade(url)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_migrated_file())


def catalog_in(folder: Path) -> Secret:
    """The address of a migrated, empty catalog in a folder."""
    url = Secret(f"sqlite:///{folder / 'catalog.db'}")
    migrated(url)
    return url


@cache
def _migrated_file() -> bytes:
    folder = Path(tempfile.mkdtemp(prefix="muster-migrated-"))
    try:
        made = folder / "catalog.db"
        migrate.upgrade(Secret(f"sqlite:///{made}"))
        with sqlite3.connect(made) as connection:  # move the whole WAL into the file
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return made.read_bytes()
    finally:
        shutil.rmtree(folder)


class Restorable:
    """A SQLite catalog that can be given the content of a template again. Connections that are open stay valid."""

    def __init__(self, file: Path, template: Path) -> None:
        self._paths = (file, template)
        self._open: tuple[sqlite3.Connection, sqlite3.Connection] | None = None
        self._version: object = None

    def restore(self) -> None:
        """Copy the template, unless nothing was committed since the last time.

        The connections stay open: the last one that closes moves the whole log into the file, which takes longer than
        the copy.
        """
        file, template = self._open = self._open or self._connect()
        if self._version is None or _version(file) != self._version:
            template.backup(file)
            self._version = _version(file)

    def close(self) -> None:
        """Close both connections."""
        for connection in self._open or ():
            connection.close()
        self._open = None

    def _connect(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        file, template = (sqlite3.connect(path) for path in self._paths)
        file.execute("PRAGMA synchronous = OFF")
        return file, template


def _version(connection: sqlite3.Connection) -> object:
    """Changes with every commit of another connection."""
    return connection.execute("PRAGMA data_version").fetchone()


@contextmanager
def statements_compiled_once() -> Iterator[None]:
    """Let all SQLite catalogs of a process share SQLAlchemy's compiled statements.

    A cache belongs to an engine and its dialect, and a sixth of the time of a test with a new catalog goes into
    compiling what the test before had compiled.
    """
    made = sa.create_engine("sqlite://")
    with made.connect():
        pass  # completes the dialect

    def create_engine(url: Secret, *connections: int) -> sa.Engine:
        engine = create(url, *connections)
        if engine.dialect.name == made.dialect.name:
            engine.dialect, engine._compiled_cache = made.dialect, made._compiled_cache
        return engine

    create = catalog_engine.create_engine
    with patch.object(catalog_engine, "create_engine", create_engine):
        yield
    made.dispose()


@contextmanager
def without_fsync() -> Iterator[None]:
    """Let SQLite skip the disk sync: files of a test need not survive a power loss, and a commit takes 7 ms."""

    def relax(connection: Any, *_: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    sa.event.listen(sa.Pool, "checkout", relax)  # runs after the settings of each engine's connect
    yield
    sa.event.remove(sa.Pool, "checkout", relax)
