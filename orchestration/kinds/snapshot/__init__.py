"""Snapshots of segments: what their jobs do in the states that imports have."""
