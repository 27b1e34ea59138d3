"""Kafka Connect's own source of files, standalone: a line of the file is a record, without a key."""
