"""Estimates a job before it runs: from measured rates and list prices to seconds and money. Pure but for two files.

In reading order: `rates` and `prices` (the two files), `work` (the input), `deployment` (what it runs on), `pace`
(seconds), `bills` (money), `stages` and `quote` (one import), `obstacles` (why it could not finish). The capacity of a
deployment, and its cost when idle (docs/capacity.md), are in `benchmarks`.
"""
