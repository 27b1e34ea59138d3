"""Conditions written by users: as text, as frozen values, and as SQL with bound parameters."""
