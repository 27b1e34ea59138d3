"""The batch edges: sources, strict CSV scan, object store, Kafka publishing, lake (Iceberg), sinks (DuckDB)."""
