"""Processes that are forked from one that has loaded what all of them need: a fork costs milliseconds, a start seconds."""
