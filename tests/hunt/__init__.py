"""Runs a suite repeatedly in random order under processor load, to find flaky tests."""
