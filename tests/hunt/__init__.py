"""Runs a suite again and again in random order with the processors loaded, to find the tests that fail by chance."""
