"""The lake: audience versions as Iceberg snapshots, the merge with a base, and SQL over exact file lists."""
