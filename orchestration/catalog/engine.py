"""Database engines for the catalog, SQLite (embedded) and PostgreSQL; translates their errors to ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa

from connectors.idle_connections import IDLE_S, IdleConnections
from orchestration.platform.capacity import CONNECTIONS_OF_A_PROCESS
from orchestration.platform.settings import Secret
from schemas.errors import RetriableError

LOCK_TIMEOUT_S: Final = 30
REFUSED: Final = "password authentication failed"
"""Matches PostgreSQL's message: errors while connecting have no code."""

VERSIONS: Final = {
    "sqlite": "PRAGMA data_version",  # comparable only on one connection
    "postgresql": "SELECT pg_current_snapshot()::text",  # a transaction that writes gets an id when it begins to
}


def create_engine(url: Secret, connections: int = CONNECTIONS_OF_A_PROCESS) -> sa.Engine:
    """Engine for a SQLAlchemy URL. SQLite: write-ahead log, waits for locks, every transaction takes the write lock."""
    parsed = sa.make_url(url.reveal())
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(
            parsed, pool_pre_ping=True, pool_size=connections, max_overflow=0, pool_timeout=LOCK_TIMEOUT_S
        )
    engine = sa.create_engine(parsed, connect_args={"timeout": LOCK_TIMEOUT_S})

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        # The driver must not start transactions implicitly: a reader that turned writer would get SQLITE_BUSY at once.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql("BEGIN" if options.get("muster_read") else "BEGIN IMMEDIATE")

    return engine


class Database:
    """Transactions on the catalog, with outages translated to `RetriableError` CATALOG_UNAVAILABLE.

    CATALOG_REFUSED if the database rejects the password, which may have changed since the start. Connections to a
    server that are not needed for `idle_s` are closed.
    """

    def __init__(self, url: Secret, *, idle_s: float = IDLE_S, connections: int = CONNECTIONS_OF_A_PROCESS) -> None:
        self._engine = create_engine(url, connections)
        self._reading = self._engine.execution_options(muster_read=True)
        self.dialect: Final = self._engine.dialect.name
        self._idle = IdleConnections(self._engine, idle_s) if self.dialect != "sqlite" else None
        self._watching: sa.PoolProxiedConnection | None = None

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A read-write transaction; on SQLite one at a time. Commits at the end, rolls back on any exception."""
        with outages_translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A read-only transaction that does not wait for writers."""
        with outages_translated(), self._reading.begin() as connection:
            yield connection

    def version(self) -> object:
        """A value that changes with each commit, of any process; it may also change without one. From one thread only.

        A fraction of the cost of a query. Raises `RetriableError` as the transactions do.
        """
        with outages_translated():
            try:
                if self._watching is None:
                    self._watching = self._engine.raw_connection()
                    self._watching.detach()  # the pool is for connections that are given back
                cursor = self._watching.cursor()
                cursor.execute(VERSIONS[self.dialect])
                [(found,)] = cursor.fetchall()
                self._watching.rollback()  # an open transaction would keep PostgreSQL from removing old rows
            except self._engine.dialect.loaded_dbapi.Error as exc:
                self._watching = None
                raise sa.exc.OperationalError(None, None, exc) from exc
        return found

    def close(self) -> None:
        """Close all connections."""
        if self._watching is not None:
            self._watching.close()
            self._watching = None
        if self._idle is not None:
            self._idle.stop()
        self._engine.dispose()


@contextmanager
def outages_translated() -> Iterator[None]:
    """Raise outages in the block as `RetriableError` CATALOG_UNAVAILABLE, or CATALOG_REFUSED."""
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as exc:
        reason = str(getattr(exc, "orig", None) or exc).splitlines()[0]
        code = "CATALOG_REFUSED" if REFUSED in reason else "CATALOG_UNAVAILABLE"
        raise RetriableError(code, f"the job catalog cannot be used: {reason}") from exc
