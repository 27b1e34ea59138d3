"""The embedded stack: broker, S3, workflow engine and workers on loopback, all state under one directory."""
