"""The SQL catalog (SQLite or PostgreSQL) that has one row for every Iceberg table of the lake."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from connectors.idle_connections import IdleConnections
from connectors.storage.access import S3Access
from schemas.layout import s3_uri

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog

CATALOG_NAME: Final = "muster"
LOCK_TIMEOUT_S: Final = 30
OPEN_TRIES: Final = 8
TABLE_PROPERTIES: Final = {
    "commit.retry.num-retries": "0",  # every conflict must return to our own checks
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.parquet.compression-codec": "zstd",
}


class LakeCatalog:
    """Opens the catalog at its first use, since importing pyiceberg is slow. Thread-safe."""

    def __init__(
        self, *, catalog_url: str, s3: S3Access, bucket: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._url = catalog_url
        self._s3 = s3
        self._bucket = bucket
        self._sleep = sleep
        self._sql_catalog: SqlCatalog | None = None
        self._idle: IdleConnections | None = None
        self._opening = threading.Lock()

    @property
    def sql_catalog(self) -> "SqlCatalog":
        """The pyiceberg catalog."""
        with self._opening:
            if self._sql_catalog is None:
                self._sql_catalog = self._open()
                if self._sql_catalog.engine.dialect.name != "sqlite":
                    self._idle = IdleConnections(self._sql_catalog.engine)
            return self._sql_catalog

    def close(self) -> None:
        """Close the catalog's database connections."""
        with self._opening:
            if self._idle is not None:
                self._idle.stop()
            if self._sql_catalog is not None:
                self._sql_catalog.engine.dispose()
                self._sql_catalog = None

    def ensure_namespace(self, name: str) -> None:
        """Create a namespace unless it exists."""
        from pyiceberg.exceptions import NamespaceAlreadyExistsError
        from sqlalchemy.exc import IntegrityError

        # It may exist, or another process may create it at the same moment.
        with suppress(NamespaceAlreadyExistsError, IntegrityError):
            self.sql_catalog.create_namespace(name)

    def _open(self) -> "SqlCatalog":
        import sqlite3

        from pyiceberg.catalog.sql import SqlCatalog
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

        from connectors.lake.file_io import IMPLEMENTATION

        url = make_url(self._url)
        database = url.database if url.get_backend_name() == "sqlite" else None
        if url.get_backend_name() == "sqlite":
            url = url.update_query_dict({"timeout": str(LOCK_TIMEOUT_S)})
        properties: dict[str, Any] = {
            **self._s3.iceberg_properties(),
            "uri": url.render_as_string(hide_password=False),
            "warehouse": s3_uri(self._bucket, "audiences"),
            "pool_pre_ping": "true",
            "py-io-impl": IMPLEMENTATION,
        }
        for attempt in range(OPEN_TRIES):  # of two that create the catalog's file or its own tables at once, one loses
            try:
                if database:
                    _use_write_ahead_log(Path(database))
                return SqlCatalog(CATALOG_NAME, **properties)
            except (IntegrityError, OperationalError, ProgrammingError, sqlite3.OperationalError):
                if attempt == OPEN_TRIES - 1:
                    raise
                self._sleep(0.05 * (attempt + 1))
        raise AssertionError("unreachable")


def _use_write_ahead_log(path: Path) -> None:
    """Switch to WAL, so that readers do not block the writer; the mode is stored in the file."""
    import sqlite3

    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT_S)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
