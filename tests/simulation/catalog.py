"""The catalog: the product's own SQL on SQLite in memory, and the lake's table catalog with its conditional commit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa
from pyiceberg.exceptions import CommitFailedException

from connectors.lake.commit import VersionChange
from connectors.lake.store import IcebergVersionStore
from orchestration.catalog.engine import Database
from orchestration.catalog.tables import metadata
from orchestration.platform.settings import Secret
from schemas.columns import RowSchema
from schemas.errors import RetriableError
from schemas.ids import JobId, Version
from segmentation.publishing import VersionHistory, require_version
from segmentation.versions import AudienceRef, Expired, Part, VersionInfo
from tests.simulation.ports import Ports


class Catalog(Database):
    """The real transactions. One database serves all schedules of this process; `empty` clears it between them."""

    def __init__(self) -> None:
        one_connection = partial(sa.create_engine, poolclass=sa.pool.StaticPool)  # another would be an empty database
        with patch("orchestration.catalog.engine.sa.create_engine", one_connection):
            super().__init__(Secret("sqlite://"))
        self._ports: Ports | None = None
        self._tables = metadata.sorted_tables
        with super().write() as connection:
            metadata.create_all(connection)

    def empty(self) -> None:
        """Clear all tables for a new schedule."""
        with super().write() as connection:
            for table in reversed(self._tables):
                connection.exec_driver_sql(f"DELETE FROM {table.name}")

    def begin_faults(self, ports: Ports | None) -> None:
        """Send calls through the ports from now on. With None, stop doing so."""
        self._ports = ports

    @contextmanager
    def look(self) -> Iterator[sa.Connection]:
        """Read as the oracle does: outside of all processes and without faults."""
        with super().read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        self._call("before a transaction", fails=True)
        with super().write() as connection:
            yield connection
        self._call("after a transaction", fails=False)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        self._call("before a query", fails=True)
        with super().read() as connection:
            yield connection

    def _call(self, what: str, *, fails: bool) -> None:
        ports = self._ports
        if ports is None:
            return
        if fails:
            # The transaction follows within the same step; the other call loses its reply.
            ports.before("catalog", what, _unavailable)
        else:
            ports.after("catalog", what, _unavailable)


def _unavailable(text: str) -> RetriableError:
    return RetriableError("CATALOG_UNAVAILABLE", text)


@dataclass(frozen=True)
class TableState:
    """The content of one metadata file of a table. Immutable; a commit replaces it."""

    history: VersionHistory
    parts: dict[Version, tuple[Part, ...]]
    columns: RowSchema


class Table:
    """A table as loaded: its state at that time, and where to commit."""

    def __init__(self, lake: "Lake", audience: AudienceRef, state: TableState) -> None:
        self.lake = lake
        self.audience = audience
        self.metadata = state

    def transaction(self) -> "Transaction":
        return Transaction(self)


class Transaction:
    """One version on a table as loaded."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._staged: VersionChange | None = None

    def stage(self, change: VersionChange) -> int:
        """Stage a version. The id of its snapshot is its number."""
        self._staged = change
        return int(change.info.version)

    def commit_transaction(self) -> None:
        assert self._staged is not None
        self._table.lake.commit(self._table, self._staged)


class Lake:
    """The tables. A commit succeeds only on the state that was loaded, like the single UPDATE of a SQL catalog."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self.tables: dict[JobId, TableState] = {}
        self.committed: Callable[[AudienceRef, VersionInfo, tuple[Part, ...]], None] = lambda *_: None

    def find(self, audience: AudienceRef) -> Table | None:
        state = self._ports.call("catalog", "load table", lambda: self.tables.get(audience.audience_id), OSError)
        return None if state is None or not state.history.versions else Table(self, audience, state)

    def find_or_create(self, audience: AudienceRef, schema: RowSchema) -> Table:
        empty = TableState(VersionHistory(), {}, schema)
        state = self._ports.call(
            "catalog", "load table", lambda: self.tables.setdefault(audience.audience_id, empty), OSError
        )
        return Table(self, audience, state)

    def commit(self, table: Table, change: VersionChange) -> None:
        def act() -> None:
            now = self.tables[table.audience.audience_id]
            if now is not table.metadata:
                self._ports.faults.saw("append conflict")
                raise CommitFailedException("branch main has changed")
            info = replace(change.info, snapshot_id=int(change.info.version))
            parts = tuple(part for part in change.parts if part.rows)
            history = replace(
                now.history,
                versions=(*now.history.versions, info),
                last_version=int(info.version),
                high_water=change.mark or now.history.high_water,
            )
            self.tables[table.audience.audience_id] = TableState(
                history, {**now.parts, info.version: parts}, now.columns
            )
            self.committed(table.audience, info, parts)

        self._ports.call("catalog", f"commit version {change.info.version}", act, OSError)


class Versions(IcebergVersionStore):
    """The real version store over `Lake`. Publish, rollback, retries and rules are the product's."""

    def __init__(self, lake: Lake, sleep: Callable[[float], None]) -> None:
        nothing: Any = None
        super().__init__(catalog_url="", s3=nothing, bucket="lake", limits=nothing, sleep=sleep)
        tables: Any = lake
        self._tables = tables

    def expire(self, *_: Any, **__: Any) -> Expired:
        return Expired(versions=(), files=0, bytes=0)


def required(table: Table | None, audience: AudienceRef, number: Version) -> tuple[Table, VersionInfo]:
    """`connectors.lake.leases.require_table` for a simulated table."""
    history = VersionHistory() if table is None else table.metadata.history
    info = require_version(history, audience, number)
    assert table is not None
    return table, info
