"""The HTTP API: routers without decisions. What a caller may see and do is decided in `orchestration.access`."""
