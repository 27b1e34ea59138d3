"""`make release VERSION=x.y.z`: the reasons to refuse a release, and the steps that make one.

Reading order: `versions`, `changelog`, `evidence` (what each file says), `refusals` (all reasons at once), `steps`.
"""
