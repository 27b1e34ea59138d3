"""DuckDB connections over the lake: bounded memory, disk and threads, S3 through the extension from its PyPI wheel."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from connectors.lake.limits import DuckLimits
from connectors.storage.access import S3Access
from schemas.columns import USER_ID, Column, ColumnType, RowSchema
from schemas.errors import FatalError
from schemas.sql_text import identifier as identifier  # noqa: PLC0414  # found here by those who build SQL over the lake
from schemas.sql_text import literal as literal  # noqa: PLC0414  # as above

BATCH_ROWS: Final = 131_072
SQL_TYPES: Final[Mapping[ColumnType, str]] = {
    "string": "VARCHAR",
    "long": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
}


def connect(limits: DuckLimits, s3: S3Access | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory database in UTC that reads `s3://` when `s3` is given; extensions are never downloaded.

    Without keys of its own, `s3` is reached with those of the role of this process, as long as the connection lives.
    """
    limits.temp_directory.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            "memory_limit": f"{limits.memory_bytes}B",
            "threads": limits.threads,
            "temp_directory": str(limits.temp_directory),
            "max_temp_directory_size": f"{limits.temp_bytes}B",
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            # The extension comes from a wheel, as DuckDB does: to check its signature takes 80 ms of every connection.
            "allow_unsigned_extensions": s3 is not None,
            "python_enable_replacements": False,  # a table name never means a variable of ours
            "preserve_insertion_order": False,
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")  # it would go to our standard output
        if s3 is not None:
            connection.execute(f"LOAD {literal(str(extension_path('httpfs')))}")
            connection.execute("SET allow_unsigned_extensions = false")  # for good: DuckDB refuses the way back
            if s3.access_key:
                connection.execute(_secret(s3))
            else:
                from connectors.lake.role_keys import use_role  # boto3 is slow to import

                use_role(connection, s3)
    except BaseException:
        connection.close()
        raise
    return connection


def extension_path(name: str) -> Path:
    """The binary of an extension in its wheel. Raises `FatalError` DUCKDB_EXTENSION_MISSING."""
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


def differs(column: Column, left: str, right: str) -> str:
    """SQL: whether a column has different values in the tables of these names. Null is a value.

    As in digests, -0.0 and 0.0 are two values, which SQL takes for equal.
    """
    name = identifier(column.name)
    sides = f"{left}.{name}", f"{right}.{name}"
    condition = " IS DISTINCT FROM ".join(sides)
    if column.type != "double":
        return condition
    signs = " IS DISTINCT FROM ".join(f"signbit({side})" for side in sides)
    return f"({condition} OR {signs})"


def rows_sql(files: Sequence[str], schema: RowSchema) -> str:
    """SELECT of exactly the columns of `schema` from Parquet files (URIs or paths); no files make no rows."""
    if not files:
        columns = [f"NULL::VARCHAR AS {USER_ID}"]
        columns += [f"NULL::{SQL_TYPES[c.type]} AS {identifier(c.name)}" for c in schema.columns]
        return f"SELECT {', '.join(columns)} WHERE false"
    names = ", ".join(identifier(name) for name in schema.names)
    return f"SELECT {names} FROM read_parquet([{', '.join(literal(file) for file in files)}])"  # noqa: S608  # quoted


def batches(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[object] = ()
) -> Iterator[pa.RecordBatch]:
    """The rows of a query as they come, at most `BATCH_ROWS` a batch. `parameters`: the values of its `?`."""
    yield from connection.execute(query, list(parameters)).to_arrow_reader(BATCH_ROWS)


def _secret(s3: S3Access) -> str:
    options = {"TYPE": "s3", "REGION": s3.region, "KEY_ID": s3.access_key, "SECRET": s3.secret_key}
    if s3.session_token:
        options["SESSION_TOKEN"] = s3.session_token
    if s3.endpoint:
        options |= {"ENDPOINT": s3.host, "URL_STYLE": "path", "USE_SSL": str(s3.secure).lower()}
    return f"CREATE SECRET lake ({', '.join(f'{name} {literal(value)}' for name, value in options.items())})"
