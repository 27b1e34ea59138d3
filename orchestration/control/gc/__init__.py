"""Garbage collection: what ended jobs and exports leave, old versions, and objects of no job."""
