"""`make release VERSION=x.y.z`: why a release is refused, and the steps that make one.

In reading order: `versions`, `changelog`, `evidence` (what each says), `refusals` (all reasons at once), `steps`.
"""
