"""What a job takes before it runs: measured rates and list prices in, seconds and money out. Pure but for two files.

In reading order: `rates` and `prices` (the two files), `work` (what is to be done), `deployment` (what it runs on),
`pace` (seconds), `bills` (money), `stages` and `quote` (one import), `obstacles` (why it could not end). What a
deployment can take, and costs when nothing runs (docs/capacity.md), is in `benchmarks`.
"""
