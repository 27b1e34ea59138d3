"""The composition root: makes the parts of each process."""
