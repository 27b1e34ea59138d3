"""Copies the whole catalog to one SQLite file, from any database and back: our tables and Iceberg's."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog import migrate
from orchestration.catalog.engine import Database, create_engine
from orchestration.catalog.tables import metadata
from orchestration.platform.settings import Secret

ICEBERG_TABLES: Final = ("iceberg_tables", "iceberg_namespace_properties")
BATCH: Final = 1000


def dump(url: Secret, file: Path) -> None:
    """Write the catalog as of one moment to a new SQLite file."""
    parsed = sa.make_url(url.reveal())
    if parsed.get_backend_name() == "sqlite":
        source, target = sqlite3.connect(str(parsed.database)), sqlite3.connect(file)
        try:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, without a write-ahead log beside it
        finally:
            source.close()
            target.close()
        return
    to = Secret(f"sqlite:///{file}")
    migrate.upgrade(to)
    source_engine, target_engine = create_engine(url), create_engine(to)
    try:
        snapshot = source_engine.execution_options(isolation_level="REPEATABLE READ")
        with snapshot.begin() as reader, target_engine.begin() as writer:
            _copy(reader, writer)
    finally:
        source_engine.dispose()
        target_engine.dispose()


def named_metadata(file: Path) -> frozenset[str]:
    """URIs of the metadata files that a dump names, one per lake table."""
    connection = sqlite3.connect(file)
    try:
        known = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if ICEBERG_TABLES[0] not in known:  # nothing was ever published
            return frozenset()
        return frozenset(uri for (uri,) in connection.execute("SELECT metadata_location FROM iceberg_tables"))
    finally:
        connection.close()


def is_empty(database: Database) -> bool:
    """Whether a catalog has no audiences, segments or jobs."""
    with database.read() as connection:
        return not any(
            connection.scalar(sa.select(sa.func.count()).select_from(metadata.tables[name]))
            for name in ("audiences", "segments", "jobs")
        )


def load(file: Path, database: Database) -> None:
    """Replace the contents of an empty catalog with a dump, in one transaction; an older dump is upgraded first."""
    url = Secret(f"sqlite:///{file}")
    migrate.upgrade(url)
    engine = create_engine(url)
    try:
        with engine.begin() as reader, database.write() as writer:
            for table in reversed(list(_tables(writer))):
                if table.name != "audit":  # append only: rows are never deleted
                    writer.execute(table.delete())
            _copy(reader, writer)
    finally:
        engine.dispose()


def _copy(reader: sa.Connection, writer: sa.Connection) -> None:
    for table in _tables(reader):
        table.create(writer, checkfirst=True)
        for rows in _batches(reader, table):
            writer.execute(table.insert(), rows)


def _tables(connection: sa.Connection) -> Iterator[sa.Table]:
    known = set(sa.inspect(connection).get_table_names())
    yield from metadata.sorted_tables
    reflected = sa.MetaData()
    for name in ICEBERG_TABLES:
        if name in known:
            yield sa.Table(name, reflected, autoload_with=connection)


def _batches(connection: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    result = connection.execution_options(yield_per=BATCH).execute(sa.select(table))
    for rows in result.mappings().partitions():
        yield [dict(row) for row in rows]
