"""Rules of segments: as text, as JSON, as frozen values, and as SQL with bound parameters."""
