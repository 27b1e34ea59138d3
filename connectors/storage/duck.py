"""Sets up DuckDB for every query of the product.

Connections are in memory, in UTC, and bounded in memory, disk and threads. They reach S3 through the extension from its
PyPI wheel. The first connection loads DuckDB itself.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from connectors.storage.access import S3Access
from connectors.storage.duck_limits import DuckLimits as DuckLimits  # noqa: PLC0414  # for all that load DuckDB
from schemas.errors import FatalError
from schemas.sql_text import literal

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

BATCH_ROWS: Final = 131_072


def connect(limits: DuckLimits, s3: S3Access | None = None) -> "duckdb.DuckDBPyConnection":
    """An in-memory database in UTC that reads `s3://` if `s3` is given; extensions are never downloaded.

    If `s3` has no keys, it is reached with those of the process's role for as long as the connection lives. Rows come
    in any order unless a query sorts them.
    """
    import duckdb

    limits.temp_directory.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            "memory_limit": f"{limits.memory_bytes}B",
            "threads": limits.threads,
            "temp_directory": str(limits.temp_directory),
            "max_temp_directory_size": f"{limits.temp_bytes}B",
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            # The extension comes from a wheel, as DuckDB does: checking its signature takes 80 ms of every connection.
            "allow_unsigned_extensions": s3 is not None,
            "python_enable_replacements": False,  # a table name never resolves to a Python variable
            "preserve_insertion_order": False,
        }
    )
    try:
        _set_session(connection)
        if s3 is not None:
            connection.execute(f"LOAD {literal(str(extension_path('httpfs')))}")
            connection.execute("SET allow_unsigned_extensions = false")  # irreversible: DuckDB refuses the way back
            if s3.access_key:
                connection.execute(_secret(s3))
            else:
                from connectors.storage.role_keys import use_role  # boto3 is slow to import

                use_role(connection, s3)
    except BaseException:
        connection.close()
        raise
    return connection


def session_of(connection: "duckdb.DuckDBPyConnection") -> "duckdb.DuckDBPyConnection":
    """Another connection to the same database, with its limits, its access to S3 and its cache; close it at the end."""
    session = connection.cursor()
    _set_session(session)
    return session


def _set_session(connection: "duckdb.DuckDBPyConnection") -> None:
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")  # it would write to stdout


def batches(
    connection: "duckdb.DuckDBPyConnection", query: str, parameters: Sequence[object] = ()
) -> "Iterator[pa.RecordBatch]":
    """The rows of a query as they come, at most `BATCH_ROWS` per batch. `parameters`: the values for its `?`."""
    yield from connection.execute(query, list(parameters)).to_arrow_reader(BATCH_ROWS)


def extension_path(name: str) -> Path:
    """The binary of an extension in its wheel. Raises `FatalError` DUCKDB_EXTENSION_MISSING."""
    import duckdb

    spec = find_spec(f"duckdb_extension_{name}")
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(location) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if path.exists():
            return path
    raise FatalError(
        "DUCKDB_EXTENSION_MISSING",
        f"install duckdb-extension-{name}=={duckdb.__version__}, the release of the installed duckdb",
        extension=name,
    )


def _secret(s3: S3Access) -> str:
    options = {"TYPE": "s3", "REGION": s3.region, "KEY_ID": s3.access_key, "SECRET": s3.secret_key}
    if s3.session_token:
        options["SESSION_TOKEN"] = s3.session_token
    if s3.endpoint:
        options |= {"ENDPOINT": s3.host, "URL_STYLE": "path", "USE_SSL": str(s3.secure).lower()}
    return f"CREATE SECRET lake ({', '.join(f'{name} {literal(value)}' for name, value in options.items())})"
