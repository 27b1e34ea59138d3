"""Kafka Connect's own file source, standalone: a line of the file becomes a record without a key."""
