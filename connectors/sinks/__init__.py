"""Sinks: destinations of exported audiences."""
