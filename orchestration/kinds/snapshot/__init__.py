"""Segment snapshots: what their jobs do in each state they share with imports."""
