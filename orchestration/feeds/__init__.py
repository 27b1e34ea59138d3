"""Delivers feeds: the process `feeder`."""
