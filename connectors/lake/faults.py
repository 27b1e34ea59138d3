"""The one place that translates errors of the lake's vendors (SQLAlchemy, pyiceberg, Arrow, botocore, DuckDB)."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import pyarrow as pa

from schemas.errors import FatalError, MusterError, RetriableError


@contextmanager
def lake_faults(doing: str) -> Iterator[None]:
    """Translate vendor errors raised while `doing` something ("reading part s3://...").

    Outages become `RetriableError` CATALOG_UNAVAILABLE or LAKE_UNAVAILABLE, broken files `FatalError` LAKE_UNREADABLE,
    missing files `FatalError` LAKE_FILE_MISSING. Bugs pass through unchanged.
    """
    try:
        yield
    except MusterError:
        raise
    except Exception as exc:
        if (error := translated(exc, doing)) is None:
            raise
        raise error from exc


def translated(exc: Exception, doing: str) -> MusterError | None:
    """The Muster error for a vendor's exception. None if it is not from a vendor."""
    module = type(exc).__module__.partition(".")[0]
    text = f"{doing}: {type(exc).__name__}: {str(exc)[:500]}"
    if isinstance(exc, FileNotFoundError):
        return FatalError("LAKE_FILE_MISSING", text, doing=doing)
    if isinstance(exc, pa.ArrowInvalid | pa.ArrowNotImplementedError):
        return FatalError("LAKE_UNREADABLE", text, doing=doing)
    if module in {"_duckdb", "duckdb"}:
        return _duckdb_fault(exc, text, doing)
    if module in {"sqlalchemy", "psycopg", "sqlite3"}:
        return RetriableError("CATALOG_UNAVAILABLE", text, doing=doing)
    if isinstance(exc, OSError) or module in {"botocore", "boto3", "pyiceberg", "s3transfer"}:
        return RetriableError("LAKE_UNAVAILABLE", text, doing=doing)
    return None


def exceeds_limits(error: MusterError) -> bool:
    """True if a query needed more memory and disk than its limits allow: it fails again under the same limits."""
    import duckdb

    return isinstance(error.__cause__, duckdb.OutOfMemoryException)


def _duckdb_fault(exc: Exception, text: str, doing: str) -> MusterError:
    """OperationalError is the outside world (I/O, HTTP, memory, disk); all other errors mean a damaged file."""
    import duckdb  # not every caller has loaded it

    if getattr(exc, "status_code", None) == HTTPStatus.NOT_FOUND:
        return FatalError("LAKE_FILE_MISSING", text, doing=doing)
    if isinstance(exc, duckdb.OperationalError | duckdb.InterruptException):
        return RetriableError("LAKE_UNAVAILABLE", text, doing=doing)
    if isinstance(exc, duckdb.DataError):  # it quotes the value that it could not convert
        text = f"{doing}: {type(exc).__name__}"
    return FatalError("LAKE_UNREADABLE", text, doing=doing)
