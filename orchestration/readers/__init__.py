"""Readers: resident processes that answer what needs DuckDB, pyiceberg or Kafka, which the service does not load.

The service sees `questions`, and `pool`, which asks them. What runs in a reader is below `answers`.
"""
