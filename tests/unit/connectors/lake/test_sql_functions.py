"""The functions that queries may call, and those of the installed DuckDB."""

from typing import Final

import duckdb

from connectors.lake.sql_functions import ALLOWED
from connectors.storage.duck import extension_path
from schemas.sql_text import literal

REFUSED: Final = """
    col_description combine create_sort_key current_catalog current_connection_id current_database current_query
    current_query_id current_role current_schema current_schemas current_setting current_transaction_id current_user
    currval finalize format_pg_type format_type get_block_size get_type getvariable in_search_path inet_client_addr
    inet_client_port inet_server_addr inet_server_port json_deserialize_sql json_serialize_plan json_serialize_sql
    make_type map_to_pg_oid nextval normalized_interval obj_description parse_duckdb_log_message remap_struct
    replace_type session_user shobj_description sleep_ms stats timetz_byte_comparable txid_current user
    variant_bytes_to_variant variant_normalize variant_to_parquet_variant vector_type version write_log
"""
"""The session, catalogs, settings, logs, plans, serialized queries, internal states and encodings, geometry."""
REFUSED_FAMILIES: Final = ("__internal_", "has_", "icu_collate_", "pg_", "st_")


def test_every_duckdb_function_is_explicitly_allowed_or_refused() -> None:
    with duckdb.connect(config={"allow_unsigned_extensions": True}) as connection:
        connection.execute(f"LOAD {literal(str(extension_path('httpfs')))}")
        sql = "SELECT lower(function_name), function_type FROM duckdb_functions()"
        found = {name for name, kind in connection.execute(sql).fetchall() if kind in {"aggregate", "macro", "scalar"}}
    assert ALLOWED - found == {"unnest"}  # syntax
    assert {name for name in found - ALLOWED if not name.startswith(REFUSED_FAMILIES)} == {*REFUSED.split()}
