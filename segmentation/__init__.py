"""The pure core: import progress and reconciliation, guards, job states. No Kafka, AWS, DuckDB, Faust or clock."""
