"""Benchmarks: `python -m benchmarks [--rows N] [--json FILE] [names...]`."""
