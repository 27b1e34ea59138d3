"""Apache Kafka (KRaft, one node) on a JVM from PyPI, its jars resolved from a committed lock file."""
