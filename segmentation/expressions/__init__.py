"""Conditions that people write: as text, as frozen values, and as SQL with bound parameters."""
