"""The shared vocabulary: ids, messages, codec, topics, digest, partitioning, errors, metric names. No I/O, no clock."""
