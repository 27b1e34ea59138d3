"""Clients of object stores: how they are reached, what their errors become, and what can be asked of a bucket."""
