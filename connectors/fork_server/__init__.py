"""Processes that are forked from one that has loaded what they need: milliseconds instead of seconds each."""
